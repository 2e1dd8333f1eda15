//! Who may do what, and whose tree it is.

use node_manager::{Node, OpenError};
use wire::Code;
use wire::serve::{Address, Listener, serve};

use crate::machine::{Machine, create, delete, install, new_id, restart, revert, start, stop};
use crate::machine::{config, uninstall, update};
use crate::world::{World, connect};

#[tokio::test(flavor = "multi_thread")]
async fn over_tcp_everything_may_be_seen_and_nothing_changed_unless_that_was_allowed() {
    let world = World::start().await;
    world.publish_script("p", "1.0.0", "exec sleep 1000").await;
    for allowed in [false, true] {
        let root = world.dir.path().join(format!("tcp-{allowed}"));
        let config =
            node_manager::Config { loopback_may_write: allowed, ..config(&root, &world.address) };
        let node = Node::open(config).await.unwrap();
        let listener = Listener::bind(&"127.0.0.1:0".parse::<Address>().unwrap()).await.unwrap();
        let connection = connect(&listener.url());
        tokio::spawn(serve(listener, node.service(), std::future::pending()));
        let calls = connection.node();
        assert_eq!(connection.status().await.unwrap().kind, "node");
        assert!(calls.instances(None).await.unwrap().next_line().await.unwrap().is_none());
        let instance = "p/1/1".parse().unwrap();
        let installation = "p/1".parse().unwrap();
        for change in [
            client::Change::Install(install("p")),
            create(&installation, false),
            start(&instance),
            stop(&instance),
            restart(&instance),
            update(&installation),
            revert(&installation),
            delete(&instance, true),
            uninstall(&installation),
        ] {
            let answer = calls.submit(new_id(), &change).await;
            match allowed {
                true => assert!(answer.is_ok(), "{change:?}: {answer:?}"),
                false => assert_eq!(answer.unwrap_err().code(), Code::Denied, "{change:?}"),
            }
        }
        if !allowed {
            assert!(calls.operations().await.unwrap().next_line().await.unwrap().is_none());
            let logs = calls.logs(&instance, &wire::v1::LogsQuery::default()).await;
            assert_eq!(logs.unwrap_err().code(), Code::Denied);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_tree_has_one_manager() {
    let world = World::start().await;
    let mut machine = Machine::start(&world).await;
    let second = Node::open(machine.config.clone()).await;
    assert!(matches!(second, Err(OpenError::Locked { .. })), "{second:?}");
    machine.restart_manager().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tree_stays_locked_as_long_as_something_may_change_it() {
    let world = World::start().await;
    let root = world.dir.path().join("node");
    let config = config(&root, &world.address);
    let node = Node::open(config.clone()).await.unwrap();
    let service = node.service();
    drop(node);
    assert!(matches!(Node::open(config.clone()).await, Err(OpenError::Locked { .. })));
    drop(service);
    for _ in 0..1000 {
        if Node::open(config.clone()).await.is_ok() {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    panic!("the tree is never free");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_of_somebody_else_is_left_alone() {
    let world = World::start().await;
    for theirs in ["photos/cat.jpg", "trash/letter", "staging/letter"] {
        let root = world.dir.path().join(theirs.replace('/', "-"));
        let file = root.join(theirs);
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(&file, "precious").unwrap();
        let refused = Node::open(config(&root, &world.address)).await;
        assert!(matches!(refused, Err(OpenError::Foreign { .. })), "{refused:?}");
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "precious");
        assert!(!root.join("format").exists() && !root.join("apps").exists());
    }
    let fresh = world.dir.path().join("fresh");
    std::fs::create_dir_all(fresh.join("lost+found")).unwrap();
    Node::open(config(&fresh, &world.address)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tree_of_a_newer_fettle_is_refused_and_not_touched() {
    let world = World::start().await;
    let mut machine = Machine::start(&world).await;
    machine.turn_off().await;
    let format = machine.root.join("format");
    let record = std::fs::read_to_string(&format).unwrap();
    let body = record.split_once('\n').unwrap().1;
    let newer = crate::machine::record("node", 2, body);
    std::fs::write(&format, &newer).unwrap();
    let refused = Node::open(machine.config.clone()).await;
    assert!(matches!(refused, Err(OpenError::TooNew { found: 2, known: 1, .. })), "{refused:?}");
    assert_eq!(std::fs::read_to_string(&format).unwrap(), newer);
    std::fs::write(&format, &newer[..newer.len() - 2]).unwrap();
    assert!(matches!(Node::open(machine.config.clone()).await, Err(OpenError::Damaged { .. })));
}

//! What a supervisor hears from the daemons, by sd_notify(3).

use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

use crate::harness::{Server, World};

fn hear(socket: &UnixDatagram) -> String {
    let mut word = [0; 4096];
    socket.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let length = socket.recv(&mut word).unwrap();
    String::from_utf8(word[..length].to_vec()).unwrap()
}

#[test]
fn a_daemon_tells_its_supervisor_when_it_is_ready_and_when_it_ends() {
    let world = World::empty();
    for (daemon, place) in [("server", "--data"), ("node", "--root")] {
        let path = world.path(&format!("{daemon}.notify"));
        let supervisor = UnixDatagram::bind(&path).unwrap();
        let root = world.text(daemon);
        let listen = format!("unix:{}", world.text(&format!("{daemon}.sock")));
        let mut command = world.command(&[daemon, place, &root, "--listen", &listen]);
        command.env("NOTIFY_SOCKET", &path).env("WATCHDOG_USEC", "").env("WATCHDOG_PID", "1");
        let running = Server::start(&mut command);
        let word = hear(&supervisor);
        let lines: Vec<&str> = word.lines().collect();
        assert_eq!(lines[0], "READY=1");
        assert_eq!(lines[1], format!("STATUS=listening on {}", running.url));
        assert!(lines[2].starts_with("MAINPID="), "{word}");
        assert_eq!(running.end("-TERM").0, Some(0));
        assert_eq!(hear(&supervisor).lines().next(), Some("STOPPING=1"));
    }
}

#[test]
fn a_supervisor_with_an_abstract_socket_that_asks_for_a_watchdog_hears_it_again_and_again() {
    let world = World::empty();
    let name = format!("fettle-test-{}", std::process::id());
    let address = SocketAddr::from_abstract_name(&name).unwrap();
    let supervisor = UnixDatagram::bind_addr(&address).unwrap();
    let mut command =
        world.command(&["server", "--listen", "127.0.0.1:0", "--data", &world.text("data")]);
    command.env("NOTIFY_SOCKET", format!("@{name}")).env("WATCHDOG_USEC", "200000");
    let server = Server::start(&mut command);
    assert!(hear(&supervisor).starts_with("READY=1\n"));
    for _ in 0..3 {
        assert_eq!(hear(&supervisor), "WATCHDOG=1");
    }
    server.end("-TERM");
}

#[test]
fn a_supervisor_that_is_gone_keeps_nobody_from_working() {
    let world = World::empty();
    for gone in [world.text("gone"), "vsock:2:1".to_owned()] {
        let mut command =
            world.command(&["server", "--listen", "127.0.0.1:0", "--data", &world.text("data")]);
        let server = Server::start(command.env("NOTIFY_SOCKET", gone));
        assert_eq!(world.lines(&["--server", &server.url, "object", "list"]).len(), 0);
        let (code, said) = server.end("-TERM");
        assert_eq!(code, Some(0));
        assert!(said.contains("supervisor"), "{said}");
    }
}

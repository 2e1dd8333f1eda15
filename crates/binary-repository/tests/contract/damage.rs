//! Bytes that are not what was written.

use reqwest::Method;
use wire::Code;

use crate::world::{MIB, World, answer, noise, object_body, part_of, wanted};

#[expect(clippy::permissions_set_readonly_false, reason = "the test damages what nobody may write")]
fn cut(world: &World, length: u64) {
    let blob = world.files().0.remove(0);
    let mut permissions = std::fs::metadata(&blob).unwrap().permissions();
    permissions.set_readonly(false);
    std::fs::set_permissions(&blob, permissions).unwrap();
    std::fs::File::options().write(true).open(&blob).unwrap().set_len(length).unwrap();
}

#[tokio::test]
async fn bytes_that_are_gone_or_too_few_are_damaged_and_not_short() {
    let world = World::start().await;
    let bytes = noise(1, MIB);
    world.put("a", &bytes).await;
    cut(&world, MIB as u64 - 1);
    for range in ["bytes=0-", "bytes=0-0"] {
        let got = answer(world.object(Method::GET, "a").header("range", range)).await;
        assert!(got.refused(Code::Damaged).contains("1048576 were written, 1048575 are there"));
    }
    assert_eq!(answer(world.object(Method::HEAD, "a")).await.status, 500);
    std::fs::remove_file(world.files().0.remove(0)).unwrap();
    world.get("a").await.refused(Code::Damaged);
    assert!(object_body(&world.stat("a").await).complete, "the catalog still knows it");
}

#[tokio::test]
async fn the_same_object_stored_again_is_whole_again() {
    let world = World::start().await;
    let bytes = noise(2, MIB);
    world.put("a", &bytes).await;
    cut(&world, 17);
    assert_eq!(world.put("a", &bytes).await.status, 200);
    assert_eq!(world.get("a").await.body, bytes);
}

#[tokio::test]
async fn a_damaged_object_is_uploaded_again_under_its_name() {
    let world = World::start().await;
    let bytes = noise(3, 5 * MIB);
    let upload = world.open_upload(&wanted("a", &bytes)).await;
    for number in [1, 2] {
        world.send_part(&upload, number, part_of(&bytes, number)).await;
    }
    world.complete(&upload).await;
    std::fs::remove_file(world.files().0.remove(0)).unwrap();
    let again = world.open_upload(&wanted("a", &bytes)).await;
    assert!(!again.complete && again.missing == [1, 2]);
    for number in [1, 2] {
        world.send_part(&again, number, part_of(&bytes, number)).await;
    }
    assert_eq!(world.complete(&again).await.status, 200);
    assert_eq!(world.get("a").await.body, bytes);
}

#[tokio::test]
async fn bytes_that_run_out_on_the_way_break_the_connection_off() {
    let world = World::start().await;
    let bytes = noise(4, 32 * MIB); // more than sockets buffer
    world.put("a", &bytes).await;
    let mut response = world.object(Method::GET, "a").send().await.unwrap();
    assert_eq!(response.status(), 200);
    response.chunk().await.unwrap();
    cut(&world, 31 * MIB as u64);
    let mut failed = false;
    loop {
        match response.chunk().await {
            Ok(Some(_)) => {}
            Ok(None) => break,
            Err(_) => {
                failed = true;
                break;
            }
        }
    }
    assert!(failed, "a short body ended in good order");
}

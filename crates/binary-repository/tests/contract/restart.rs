//! What a restart keeps, repairs and refuses.

use binary_repository::OpenError;
use wire::Code;

use crate::world::{MIB, World, noise, part_of, wanted};

#[tokio::test]
async fn received_parts_are_kept_and_the_upload_goes_on() {
    let mut world = World::start().await;
    let bytes = noise(1, 9 * MIB);
    let upload = world.open_upload(&wanted("a", &bytes)).await;
    world.send_part(&upload, 2, part_of(&bytes, 2)).await;
    world.restart().await;
    world.get("a").await.refused(Code::Incomplete);
    let again = world.open_upload(&wanted("a", &bytes)).await;
    assert_eq!((again.upload, &again.missing[..]), (upload.upload, &[1, 3][..]));
    for number in [1, 3] {
        world.send_part(&upload, number, part_of(&bytes, number)).await;
    }
    world.restart().await;
    assert_eq!(world.complete(&upload).await.status, 200);
    world.restart().await;
    assert_eq!(world.get("a").await.body, bytes);
    assert_eq!(world.complete(&upload).await.status, 200);
}

#[tokio::test]
async fn staged_bytes_and_uploads_are_made_to_agree() {
    let mut world = World::start().await;
    let contents = [noise(2, 5 * MIB), noise(3, 5 * MIB)];
    let lost = world.open_upload(&wanted("lost", &contents[0])).await;
    let short = world.open_upload(&wanted("short", &contents[1])).await;
    for (upload, bytes) in [&lost, &short].into_iter().zip(&contents) {
        world.send_part(upload, 1, part_of(bytes, 1)).await;
    }
    world.end().await;
    let staging = world.data().join("staging");
    std::fs::remove_file(staging.join(lost.upload.to_string())).unwrap();
    let file = std::fs::File::options().write(true).open(staging.join(short.upload.to_string()));
    file.unwrap().set_len(1).unwrap();
    std::fs::write(staging.join("0192d3a4-0000-7000-8000-000000000000"), b"nobody's").unwrap();
    world.begin().await;
    assert_eq!(world.files().1.len(), 1, "only what may go on is there");
    for (name, bytes) in ["lost", "short"].into_iter().zip(&contents) {
        let upload = world.open_upload(&wanted(name, bytes)).await;
        assert_eq!(upload.missing, [1, 2], "{name}");
        for number in [1, 2] {
            world.send_part(&upload, number, part_of(bytes, number)).await;
        }
        assert_eq!(world.complete(&upload).await.status, 200);
    }
}

#[tokio::test]
async fn one_directory_has_one_server() {
    let world = World::start().await;
    assert!(matches!(world.open(), Err(OpenError::Locked { .. })));
}

#[tokio::test]
async fn a_catalog_of_a_newer_fettle_is_left_alone() {
    let mut world = World::start().await;
    world.end().await;
    let file = world.data().join("catalog.sqlite");
    let catalog = rusqlite::Connection::open(&file).unwrap();
    catalog.execute("UPDATE meta SET value = 99", ()).unwrap();
    let refusal = world.open().unwrap_err().to_string();
    assert!(refusal.contains("version 99") && refusal.contains("knows 1"), "{refusal}");
}

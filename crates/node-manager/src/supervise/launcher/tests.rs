//! Against a launcher that is played, for a real one is neither busy nor gone when it is asked to be.

use std::io::{Read as _, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::time::Duration;

use launcher::{End, Welcome};

use super::super::launches::FateOf;
use super::*;

/// The socket of a launcher that is played.
fn stage() -> (tempfile::TempDir, UnixListener, Launcher) {
    let directory = tempfile::tempdir().unwrap();
    let listener = UnixListener::bind(directory.path().join("launcher.sock")).unwrap();
    let path = directory.path().to_owned();
    let way = Way { directory: path, program: "/nowhere".into(), args: Vec::new() };
    let shared = Shared { way, state: Mutex::default(), reaching: Mutex::default() };
    (directory, listener, Launcher { shared: Arc::new(shared) })
}

fn say(socket: &mut UnixStream, event: &Event) {
    let text = serde_json::to_vec(event).unwrap();
    socket.write_all(&u32::try_from(text.len()).unwrap().to_le_bytes()).unwrap();
    socket.write_all(&text).unwrap();
}

fn welcome(socket: &mut UnixStream, known: usize) {
    let pid = std::process::id();
    say(socket, &Event::Welcome(Welcome { protocol: 1, fettle: "0".into(), pid, known }));
}

fn read(socket: &mut UnixStream) -> Request {
    let mut head = [0; 4];
    socket.read_exact(&mut head).unwrap();
    let mut body = vec![0; u32::from_le_bytes(head) as usize];
    socket.read_exact(&mut body).unwrap();
    serde_json::from_slice(&body).unwrap()
}

fn program(launch: LaunchId) -> Program {
    Program {
        launch: launch.to_string(),
        program: "/bin/true".into(),
        args: Vec::new(),
        env: Vec::new(),
        directory: "/".into(),
        limits: Vec::new(),
        oom_score: None,
        in_group: false,
        joins: 0,
        keeps: false,
    }
}

async fn within<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(30), what).await.unwrap()
}

#[tokio::test]
async fn a_launch_that_is_asked_for_over_a_lost_connection_is_not_waited_for() {
    let (_directory, listener, launcher) = stage();
    let play = std::thread::spawn(move || {
        let (mut socket, _) = listener.accept().unwrap();
        welcome(&mut socket, 0);
        // What is sent to it still arrives, and nobody answers.
        socket.shutdown(std::net::Shutdown::Write).unwrap();
        socket
    });
    let connection = launcher.shared.reach().unwrap();
    let _socket = play.join().unwrap();
    while launcher.shared.state().connection.is_some() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let launch = LaunchId::from(uuid::Uuid::from_u128(1));
    let request = Request::Launch(program(launch).into());
    let asked = launcher.ask_by(&connection, launch, &request, &[]);
    if let Some(asked) = asked {
        assert!(matches!(within(asked.made()).await, Err(Unmade::Lost(_))));
    }
    assert!(launcher.shared.state().launches.is_empty());
}

#[tokio::test]
async fn a_launcher_that_does_not_answer_once_is_looked_for_again_and_the_end_is_heard() {
    let (_directory, listener, launcher) = stage();
    let launch = LaunchId::from(uuid::Uuid::from_u128(1));
    let play = std::thread::spawn(move || {
        let (mut socket, _) = listener.accept().unwrap();
        welcome(&mut socket, 0);
        read(&mut socket);
        let launched = Launched { launch: launch.to_string(), pid: 1, start_ticks: 1 };
        say(&mut socket, &Event::Launched(launched.clone()));
        drop(socket);
        // It is there, and says nothing that anybody understands.
        drop(listener.accept().unwrap().0.write_all(&u32::MAX.to_le_bytes()));
        drop(listener.accept().unwrap().0.write_all(&[1, 0, 0, 0, b'?']));
        let (mut socket, _) = listener.accept().unwrap();
        welcome(&mut socket, 1);
        let ended = Ended { launch: launch.to_string(), end: End::Code(3), at: 7 };
        say(&mut socket, &Event::Known { launched, ended: Some(ended) });
        socket
    });
    let made = within(launcher.launch(launch, program(launch), Vec::new())).await.unwrap();
    let fate = within(made.fate.known()).await;
    assert!(matches!(fate, FateOf::Ended(Ended { end: End::Code(3), .. })), "{fate:?}");
    drop(play.join());
}

#[tokio::test]
async fn an_end_that_nobody_waits_for_is_acknowledged_again() {
    let (_directory, listener, launcher) = stage();
    let launch = LaunchId::from(uuid::Uuid::from_u128(1));
    let play = std::thread::spawn(move || {
        let (mut socket, _) = listener.accept().unwrap();
        welcome(&mut socket, 0);
        say(
            &mut socket,
            &Event::Ended(Ended { launch: launch.to_string(), end: End::Code(3), at: 7 }),
        );
        read(&mut socket)
    });
    launcher.shared.reach().unwrap();
    let asked = tokio::task::spawn_blocking(move || play.join().unwrap());
    let wanted = Request::Acknowledge { launch: launch.to_string() };
    assert_eq!(within(asked).await.unwrap(), wanted);
}

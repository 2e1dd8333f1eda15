//! A cable to a server: counts the bytes of answers, can be cut, and can be held.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

#[derive(Clone)]
pub struct Cable {
    pub address: String,
    /// Bytes that came from the server.
    pub down: Arc<AtomicU64>,
    /// Bytes that still come before it is cut or held.
    budget: Arc<AtomicI64>,
    holds: Arc<AtomicBool>,
    /// Counts up when the budget is spent.
    spent: watch::Sender<u64>,
    /// Is it whole, or cut, or held?
    whole: watch::Sender<bool>,
}

impl Cable {
    pub async fn to(server: &str) -> Cable {
        let server = server.strip_prefix("http://").unwrap().to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let cable = Cable {
            address: format!("http://{}", listener.local_addr().unwrap()),
            down: Arc::default(),
            budget: Arc::new(AtomicI64::new(i64::MAX)),
            holds: Arc::default(),
            spent: watch::Sender::new(0),
            whole: watch::Sender::new(true),
        };
        let accepting = cable.clone();
        tokio::spawn(async move {
            loop {
                let (near, _) = listener.accept().await.unwrap();
                if !accepting.holds.load(Ordering::SeqCst) && !*accepting.whole.borrow() {
                    continue; // closed at once
                }
                let far = TcpStream::connect(&server).await.unwrap();
                accepting.clone().join(near, far);
            }
        });
        cable
    }

    /// After so many more bytes from the server every connection is closed, and new ones are until
    /// [`Cable::mend`].
    pub fn cut_after(&self, bytes: i64) {
        self.holds.store(false, Ordering::SeqCst);
        self.budget.store(bytes, Ordering::SeqCst);
    }

    /// After so many more bytes from the server nothing comes until [`Cable::mend`].
    pub fn hold_after(&self, bytes: i64) {
        self.holds.store(true, Ordering::SeqCst);
        self.budget.store(bytes, Ordering::SeqCst);
    }

    pub fn mend(&self) {
        self.budget.store(i64::MAX, Ordering::SeqCst);
        self.whole.send_replace(true);
    }

    /// Waits until the bytes are spent.
    pub async fn was_spent(&self) {
        self.spent.subscribe().wait_for(|times| *times > 0).await.unwrap();
    }

    pub fn count(&self) -> u64 {
        self.down.load(Ordering::SeqCst)
    }

    fn join(self, near: TcpStream, far: TcpStream) {
        let (mut near_read, near_write) = near.into_split();
        let (far_read, mut far_write) = far.into_split();
        tokio::spawn(async move {
            let up = async { drop(tokio::io::copy(&mut near_read, &mut far_write).await) };
            tokio::select! {
                () = up => {}
                () = self.copy_down(far_read, near_write) => {}
            }
        });
    }

    async fn copy_down(
        &self,
        mut from: tokio::net::tcp::OwnedReadHalf,
        mut to: tokio::net::tcp::OwnedWriteHalf,
    ) {
        let mut buffer = vec![0; 16 * 1024];
        let mut whole = self.whole.subscribe();
        while let Ok(read @ 1..) = from.read(&mut buffer).await {
            let left = self.budget.fetch_sub(read as i64, Ordering::SeqCst);
            let passes = usize::try_from(left.max(0)).unwrap().min(read);
            if to.write_all(&buffer[..passes]).await.is_err() {
                return;
            }
            self.down.fetch_add(passes as u64, Ordering::SeqCst);
            if passes < read {
                self.whole.send_replace(false);
                self.spent.send_modify(|times| *times += 1);
                if !self.holds.load(Ordering::SeqCst) {
                    return;
                }
                whole.wait_for(|whole| *whole).await.unwrap();
                if to.write_all(&buffer[passes..read]).await.is_err() {
                    return;
                }
            }
        }
    }
}

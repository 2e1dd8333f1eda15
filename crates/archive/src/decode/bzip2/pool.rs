//! The threads that decode blocks. They are started when there is something to do, and end when
//! the pool is dropped.

use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use crate::decode::bzip2::bits::Bits;
use crate::decode::bzip2::block::{Outcome, decode};
use crate::decode::bzip2::fast;

/// A block to decode.
struct Job {
    bits: Arc<Bits>,
    level: u8,
    answer: SyncSender<Outcome>,
}

/// Threads, and the queue that they take from.
pub(super) struct Pool {
    /// `None` only while dropping.
    jobs: Option<Sender<Job>>,
    queue: Arc<Mutex<Receiver<Job>>>,
    workers: Vec<JoinHandle<()>>,
    most: usize,
    /// What its threads are called.
    pub(super) name: &'static str,
}

impl Pool {
    /// A pool of as many threads as may run at once, at most [`MOST`].
    pub(super) fn new() -> Self {
        let most = thread::available_parallelism().map_or(1, |most| most.get().min(MOST));
        let (jobs, queue) = channel();
        let queue = Arc::new(Mutex::new(queue));
        Self { jobs: Some(jobs), queue, workers: Vec::new(), most, name: "bzip2" }
    }

    /// Blocks that are kept in flight: one that is read, one that waits, the others decoded.
    pub(super) fn depth(&self) -> usize {
        self.most + 2
    }

    /// Has a block decoded. The answer never comes if its thread panicked.
    pub(super) fn submit(&mut self, bits: Arc<Bits>, level: u8) -> Receiver<Outcome> {
        let (answer, receiver) = sync_channel(1);
        if self.workers.len() < self.most {
            let queue = Arc::clone(&self.queue);
            let builder = thread::Builder::new().name(self.name.to_owned()).stack_size(STACK);
            // Fewer threads than wanted are slower, none is the pulling thread itself.
            self.workers.extend(builder.spawn(move || work(&queue)));
        }
        let job = Job { bits, level, answer };
        match &self.jobs {
            Some(jobs) if !self.workers.is_empty() => {
                // It cannot fail: the pool holds the other end too.
                let _ = jobs.send(job);
            }
            _ => run(&job, &mut fast::Decoder::default()),
        }
        receiver
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.jobs = None;
        // What nobody has begun is not worth doing.
        while self.queue.lock().unwrap_or_else(PoisonError::into_inner).try_recv().is_ok() {}
        for worker in self.workers.drain(..) {
            // A panic there was an answer that did not come.
            let _ = worker.join();
        }
    }
}

fn work(queue: &Mutex<Receiver<Job>>) {
    let mut decoder = fast::Decoder::default();
    loop {
        let job = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
        match job {
            Ok(job) => run(&job, &mut decoder),
            Err(_) => return,
        }
    }
}

fn run(job: &Job, decoder: &mut fast::Decoder) {
    // Where nobody waits any more, the reader was dropped.
    let _ = job.answer.send(decode(&job.bits, job.level, decoder));
}

/// More threads decode faster than anything behind them can take.
const MOST: usize = 8;
/// Bytes of stack for each thread, generously: what is large is on the heap.
const STACK: usize = 512 << 10;

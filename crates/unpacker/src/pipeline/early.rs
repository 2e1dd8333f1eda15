//! Forcing what was written to the disk while the rest is still being unpacked, so that the one sync at the
//! end finds little to do.
//!
//! It promises nothing: the publication of the tree syncs everything that it publishes.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::Scope;

use durable::{DiskError, TreeSync};

/// Counts what is written, and has it forced to the disk from time to time.
pub(super) struct Early {
    bell: SyncSender<()>,
    failed: Receiver<DiskError>,
    since: u64,
}

impl Early {
    /// Starts the thread that syncs; it ends when this value is dropped.
    pub(super) fn start<'scope>(
        scope: &'scope Scope<'scope, '_>,
        tree: TreeSync,
    ) -> std::io::Result<Early> {
        // Without a queue: it rings only while the thread waits for it, so that no sync is left over at the end.
        let (bell, bells) = sync_channel::<()>(0);
        let (failure, failed) = sync_channel(1);
        std::thread::Builder::new().name("early-sync".to_owned()).stack_size(STACK).spawn_scoped(
            scope,
            move || {
                for () in bells {
                    if let Err(error) = tree.sync() {
                        // One is enough, and whoever listened may be gone.
                        let _ = failure.try_send(error);
                    }
                }
            },
        )?;
        Ok(Early { bell, failed, since: 0 })
    }

    /// So many more bytes were handed over to be written.
    pub(super) fn count(&mut self, bytes: u64) -> Result<(), DiskError> {
        self.since += bytes;
        if self.since >= EVERY && self.bell.try_send(()).is_ok() {
            self.since = 0;
        }
        match self.failed.try_recv() {
            Ok(error) => Err(error),
            Err(_) => Ok(()),
        }
    }
}

/// Bytes from one sync to the next, if the disk keeps up: large against what one costs, small against what
/// is left for the end when the last one began just before it.
const EVERY: u64 = 16 << 20;
/// Bytes of stack.
const STACK: usize = 256 << 10;

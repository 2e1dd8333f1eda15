//! How a transfer tells how far it is. Owns the trait and nothing else: who shows it, and how, is the
//! caller's matter; this crate never prints.

/// Listens to how far a transfer is. Phases do not overlap; `advance` may come from several threads.
pub trait Progress: Send + Sync {
    /// A phase begins: `what` it does on which thing, and over how many bytes, if that is known.
    fn begin(&self, what: &str, bytes: Option<u64>);

    /// So many bytes more are done. Bytes that have to be sent a second time are not counted twice.
    fn advance(&self, bytes: u64);

    /// Something worth knowing that is no failure, e.g. that a part is sent again.
    fn note(&self, text: &str);

    /// The phase is over.
    fn end(&self);
}

/// Listens to nothing.
#[derive(Debug, Clone, Copy)]
pub struct NoProgress;

impl Progress for NoProgress {
    fn begin(&self, _what: &str, _bytes: Option<u64>) {}
    fn advance(&self, _bytes: u64) {}
    fn note(&self, _text: &str) {}
    fn end(&self) {}
}

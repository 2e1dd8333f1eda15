//! Messages on a stream socket: four bytes of length (little endian), JSON, and descriptors that travel
//! with the first byte. Owns the framing; refuses to know what is said.
//!
//! A reader takes the head and the body in exact pieces, never more, so descriptors of the next message
//! stay with it.

use std::collections::VecDeque;
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::rc::Rc;

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recv, recvmsg, sendmsg,
};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Why nothing can be said or heard any more.
#[derive(Debug, thiserror::Error)]
pub enum ChannelError {
    /// The other end is gone.
    #[error("the other end is gone")]
    Closed,
    /// The system refuses.
    #[error("the connection fails")]
    Io(#[from] io::Error),
    /// It is longer than a message may be.
    #[error("a message has {bytes} bytes; {LONGEST} are possible")]
    TooLong {
        /// How long it is.
        bytes: usize,
    },
    /// It is not what the other end should say.
    #[error("a message is not understood")]
    Form(#[from] serde_json::Error),
    /// More descriptors came than this process can have.
    #[error("a message lost descriptors")]
    Descriptors,
}

/// A message with its head, ready to be sent.
pub(crate) fn frame(message: &impl Serialize) -> Result<Vec<u8>, ChannelError> {
    let mut bytes = vec![0; HEAD];
    serde_json::to_writer(&mut bytes, message)?;
    let length = bytes.len() - HEAD;
    if length > LONGEST {
        return Err(ChannelError::TooLong { bytes: length });
    }
    let head = u32::try_from(length).unwrap_or(u32::MAX).to_le_bytes(); // at most LONGEST
    bytes[..HEAD].copy_from_slice(&head);
    Ok(bytes)
}

/// Sends a message with its descriptors. Blocking, on a blocking socket.
pub(crate) fn send(
    socket: impl AsFd,
    message: &impl Serialize,
    descriptors: &[BorrowedFd<'_>],
) -> Result<(), ChannelError> {
    let bytes = frame(message)?;
    let mut sent = send_some(&socket, &bytes, descriptors, SendFlags::NOSIGNAL)?;
    while sent < bytes.len() {
        sent += send_some(&socket, &bytes[sent..], &[], SendFlags::NOSIGNAL)?;
    }
    Ok(())
}

fn send_some(
    socket: impl AsFd,
    bytes: &[u8],
    descriptors: &[BorrowedFd<'_>],
    flags: SendFlags,
) -> io::Result<usize> {
    let mut space = [MaybeUninit::uninit(); SPACE];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !descriptors.is_empty() && !control.push(SendAncillaryMessage::ScmRights(descriptors)) {
        return Err(io::Error::other("too many descriptors for one message"));
    }
    loop {
        match sendmsg(&socket, &[IoSlice::new(bytes)], &mut control, flags) {
            Err(rustix::io::Errno::INTR) => {}
            other => return Ok(other?),
        }
    }
}

/// Descriptors that came with a message.
#[derive(Debug, Default)]
pub(crate) struct Came {
    pub(crate) descriptors: VecDeque<OwnedFd>,
    /// Did more come than this process has numbers for?
    pub(crate) is_cut: bool,
}

/// Waits for a message and its descriptors. Blocking, on a blocking socket.
pub(crate) fn receive<T: DeserializeOwned>(socket: impl AsFd) -> Result<(T, Came), ChannelError> {
    let mut head = [0; HEAD];
    let (mut filled, mut came) = (0, Came::default());
    while filled < HEAD {
        filled += receive_some(&socket, &mut head[filled..], &mut came)?;
    }
    let length = u32::from_le_bytes(head) as usize;
    if length > LONGEST {
        return Err(ChannelError::TooLong { bytes: length });
    }
    let mut body = vec![0; length];
    let mut filled = 0;
    while filled < length {
        filled += match recv(&socket, &mut body[filled..], RecvFlags::empty()) {
            Ok((0, _)) => return Err(ChannelError::Closed),
            Ok((count, _)) => count,
            Err(rustix::io::Errno::INTR) => 0,
            Err(error) => return Err(of_system(error)),
        };
    }
    Ok((serde_json::from_slice(&body)?, came))
}

fn receive_some(
    socket: impl AsFd,
    bytes: &mut [u8],
    came: &mut Came,
) -> Result<usize, ChannelError> {
    let mut space = [MaybeUninit::uninit(); SPACE];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let received = loop {
        let flags = RecvFlags::CMSG_CLOEXEC;
        match recvmsg(&socket, &mut [IoSliceMut::new(bytes)], &mut control, flags) {
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(of_system(error)),
            Ok(received) => break received,
        }
    };
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(some) = message {
            came.descriptors.extend(some);
        }
    }
    came.is_cut |= received.flags.contains(ReturnFlags::CTRUNC);
    match received.bytes {
        0 => Err(ChannelError::Closed),
        count => Ok(count),
    }
}

fn of_system(error: rustix::io::Errno) -> ChannelError {
    match error {
        rustix::io::Errno::CONNRESET | rustix::io::Errno::PIPE => ChannelError::Closed,
        other => ChannelError::Io(other.into()),
    }
}

/// What is to be sent on a socket that may not take it now. It is kept in order, with its descriptors, and
/// is bounded by what its user puts in: for the launcher a few messages for each launch that it knows.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    frames: VecDeque<(Vec<u8>, Option<Rc<OwnedFd>>)>,
    /// Bytes of the first frame that are on their way.
    sent: usize,
}

impl Outbox {
    /// Puts a message in, and a descriptor that goes with it: the same one, for there may be as many as
    /// this process can have.
    pub(crate) fn put(
        &mut self,
        message: &impl Serialize,
        descriptor: Option<Rc<OwnedFd>>,
    ) -> Result<(), ChannelError> {
        self.frames.push_back((frame(message)?, descriptor));
        Ok(())
    }

    /// Is nothing waiting?
    pub(crate) fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }

    /// Sends what the socket takes without waiting.
    pub(crate) fn flush(&mut self, socket: impl AsFd) -> Result<(), ChannelError> {
        while let Some((bytes, descriptor)) = self.frames.front() {
            let descriptors: Vec<_> = match self.sent {
                0 => descriptor.iter().map(|shared| shared.as_fd()).collect(),
                _ => Vec::new(), // they went with the first byte
            };
            let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
            match send_some(&socket, &bytes[self.sent..], &descriptors, flags) {
                Ok(count) => self.sent += count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error.into()),
            }
            if self.sent == bytes.len() {
                self.frames.pop_front();
                self.sent = 0;
            }
        }
        Ok(())
    }
}

/// Bytes of a head.
const HEAD: usize = 4;
/// Bytes that a message may have: more than the kernel takes as arguments and environment together.
const LONGEST: usize = 16 << 20;
/// Descriptors that may come with one message: two streams, a group, a dozen v1 controllers, one to keep.
const DESCRIPTORS: usize = 24;
const SPACE: usize = rustix::cmsg_space!(ScmRights(DESCRIPTORS));

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read as _, Write as _};
    use std::os::unix::net::UnixStream;

    #[test]
    fn descriptors_stay_with_the_message_that_they_were_sent_with() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let (mut reader, writer) = io::pipe().unwrap();
        send(&ours, &"plain", &[]).unwrap();
        send(&ours, &"with one", &[writer.as_fd()]).unwrap();
        send(&ours, &"plain again", &[]).unwrap();
        drop(writer);
        let mut counts = Vec::new();
        for _ in 0..3 {
            let (text, mut came): (String, _) = receive(&theirs).unwrap();
            counts.push((text, came.descriptors.len()));
            if let Some(descriptor) = came.descriptors.pop_front() {
                std::fs::File::from(descriptor).write_all(b"through").unwrap();
            }
        }
        let expected = [("plain", 0), ("with one", 1), ("plain again", 0)];
        assert_eq!(counts, expected.map(|(text, count)| (text.to_owned(), count)));
        let mut through = String::new();
        reader.read_to_string(&mut through).unwrap();
        assert_eq!(through, "through");
    }

    #[test]
    fn what_the_other_end_does_not_take_now_is_kept_in_order() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let mut outbox = Outbox::default();
        let long = "x".repeat(100_000);
        for number in 0..20 {
            outbox.put(&(number, &long), None).unwrap();
        }
        outbox.flush(&ours).unwrap();
        assert!(!outbox.is_empty(), "a socket takes less than two megabytes");
        for number in 0..20 {
            let ((found, text), _): ((i32, String), _) = receive(&theirs).unwrap();
            assert!(found == number && text == long);
            outbox.flush(&ours).unwrap();
        }
        assert!(outbox.is_empty());
    }

    #[test]
    fn a_length_that_nobody_sends_ends_the_connection_and_takes_no_memory() {
        let (mut ours, theirs) = UnixStream::pair().unwrap();
        ours.write_all(&u32::MAX.to_le_bytes()).unwrap();
        assert!(matches!(receive::<String>(&theirs), Err(ChannelError::TooLong { .. })));
    }

    #[test]
    fn an_end_in_the_middle_of_a_message_is_no_message() {
        let (mut ours, theirs) = UnixStream::pair().unwrap();
        ours.write_all(&[9, 0, 0, 0, b'"']).unwrap();
        drop(ours);
        assert!(matches!(receive::<String>(&theirs), Err(ChannelError::Closed)));
    }
}

//! Messages and descriptors between two processes.

use std::{
    io::{self, IoSlice, IoSliceMut, Read, Write},
    mem::MaybeUninit,
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::net::UnixStream,
    },
};

use rustix::{
    cmsg_space,
    io::Errno,
    net::{
        RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
        SendFlags, recvmsg, sendmsg,
    },
};

use super::{PATIENCE, UpgradeError};

/// Descriptors per message. The kernel takes 253.
pub(super) const MOST_DESCRIPTORS: usize = 128;

/// Longer than what both programs have to say: what was learned of some services, a few MB each.
const LONGEST: usize = 1 << 30;

/// Kind, number of descriptors, length of the text (big-endian).
const HEADER: usize = 6;

/// What a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Kind {
    /// The successor: who it is.
    Hello = 1,
    /// The predecessor: who it is.
    Offer = 2,
    /// Listening sockets; the text says for which place.
    Sockets = 3,
    /// What the program knows. The last of the offer.
    State = 4,
    /// The successor serves.
    Ready = 5,
    /// The predecessor accepts no more. The text is its last word.
    Yours = 6,
    /// No: the text says why.
    Refusal = 7,
}

impl Kind {
    const ALL: [Self; 7] =
        [Self::Hello, Self::Offer, Self::Sockets, Self::State, Self::Ready, Self::Yours, Self::Refusal];
}

#[derive(Debug)]
pub(super) struct Message {
    pub(super) kind: Kind,
    pub(super) text: Vec<u8>,
    pub(super) descriptors: Vec<OwnedFd>,
}

/// The connection between predecessor and successor. Blocks, each step for half a minute at most.
#[derive(Debug)]
pub struct Wire(UnixStream);

impl Wire {
    pub(super) fn new(stream: UnixStream) -> Result<Self, UpgradeError> {
        let timely = || {
            stream.set_nonblocking(false)?;
            stream.set_read_timeout(Some(PATIENCE))?;
            stream.set_write_timeout(Some(PATIENCE))
        };
        timely().map_err(UpgradeError::Wire)?;
        Ok(Self(stream))
    }

    /// For what the program has to say afterwards.
    ///
    /// # Errors
    /// If the runtime can not watch one more descriptor.
    pub fn into_stream(self) -> io::Result<tokio::net::UnixStream> {
        self.0.set_nonblocking(true)?;
        tokio::net::UnixStream::from_std(self.0)
    }

    pub(super) fn send(&mut self, kind: Kind, text: &[u8]) -> Result<(), UpgradeError> {
        self.send_with(kind, text, &[])
    }

    /// `descriptors`: at most [`MOST_DESCRIPTORS`].
    pub(super) fn send_with(
        &mut self,
        kind: Kind,
        text: &[u8],
        descriptors: &[OwnedFd],
    ) -> Result<(), UpgradeError> {
        self.try_send(kind, text, descriptors).map_err(UpgradeError::Wire)
    }

    fn try_send(&mut self, kind: Kind, text: &[u8], descriptors: &[OwnedFd]) -> io::Result<()> {
        let too_much = |_| io::Error::other("too much for one message");
        let mut header = [0; HEADER];
        header[0] = kind as u8;
        header[1] = u8::try_from(descriptors.len()).map_err(too_much)?;
        header[2..].copy_from_slice(&u32::try_from(text.len()).map_err(too_much)?.to_be_bytes());
        let borrowed: Vec<BorrowedFd<'_>> = descriptors.iter().map(AsFd::as_fd).collect();
        let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(MOST_DESCRIPTORS))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if !borrowed.is_empty() && !control.push(SendAncillaryMessage::ScmRights(&borrowed)) {
            return Err(io::Error::other("too many descriptors for one message"));
        }
        let sent =
            uninterrupted(|| sendmsg(&self.0, &[IoSlice::new(&header)], &mut control, SendFlags::NOSIGNAL))?;
        self.0.write_all(&header[sent..])?;
        self.0.write_all(text)
    }

    pub(super) fn receive(&mut self) -> Result<Message, UpgradeError> {
        let message = self.try_receive().map_err(UpgradeError::Wire)?;
        match message.kind {
            Kind::Refusal => Err(UpgradeError::Refused(message.words())),
            _ => Ok(message),
        }
    }

    /// The next message, which must be of that kind.
    pub(super) fn expect(&mut self, kind: Kind) -> Result<Message, UpgradeError> {
        let message = self.receive()?;
        if message.kind == kind { Ok(message) } else { Err(message.unexpected()) }
    }

    fn try_receive(&mut self) -> io::Result<Message> {
        let mut header = [0; HEADER];
        let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(MOST_DESCRIPTORS))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let got = uninterrupted(|| {
            let into = &mut [IoSliceMut::new(&mut header)];
            // Or they would be inherited by whatever this process starts.
            recvmsg(&self.0, into, &mut control, RecvFlags::CMSG_CLOEXEC).map(|received| received.bytes)
        })?;
        let mut descriptors = Vec::new();
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(received) = message {
                descriptors.extend(received);
            }
        }
        if got == 0 {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "it has gone"));
        }
        self.0.read_exact(&mut header[got..])?;
        let invalid = |what: &str| io::Error::new(io::ErrorKind::InvalidData, what.to_owned());
        let kind = Kind::ALL.into_iter().find(|kind| *kind as u8 == header[0]);
        let kind = kind.ok_or_else(|| invalid("a message of an unknown kind"))?;
        if descriptors.len() != usize::from(header[1]) {
            return Err(invalid("descriptors are missing: is the limit of open files reached?"));
        }
        let [.., a, b, c, d] = header;
        let length = u32::from_be_bytes([a, b, c, d]) as usize;
        if length > LONGEST {
            return Err(invalid("a message that is too long"));
        }
        let mut text = vec![0; length];
        self.0.read_exact(&mut text)?;
        Ok(Message { kind, text, descriptors })
    }
}

impl Message {
    pub(super) fn words(&self) -> String {
        String::from_utf8_lossy(&self.text).into_owned()
    }

    pub(super) fn unexpected(&self) -> UpgradeError {
        UpgradeError::Unexpected(format!("{:?}", self.kind))
    }
}

/// A signal is no end of a call.
fn uninterrupted<T>(mut call: impl FnMut() -> rustix::io::Result<T>) -> io::Result<T> {
    loop {
        match call() {
            Err(Errno::INTR) => {}
            result => return Ok(result?),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair() -> (Wire, Wire) {
        let (a, b) = UnixStream::pair().expect("sockets");
        (Wire::new(a).expect("a wire"), Wire::new(b).expect("a wire"))
    }

    #[test]
    fn messages_arrive_whole_in_order_and_with_their_descriptors() {
        let (mut here, mut there) = pair();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("bound");
        let long = vec![7; 1 << 20];
        let sending = std::thread::spawn(move || {
            here.send(Kind::Hello, b"who").expect("sent");
            here.send_with(Kind::Sockets, b"place", &[listener.into()]).expect("sent");
            here.send(Kind::State, &long).expect("sent");
        });
        assert_eq!(there.expect(Kind::Hello).expect("came").words(), "who");
        let mut sockets = there.expect(Kind::Sockets).expect("came");
        let got = std::net::TcpListener::from(sockets.descriptors.pop().expect("one"));
        assert_eq!(got.local_addr().expect("bound"), address);
        assert_eq!(there.expect(Kind::State).expect("came").text.len(), 1 << 20);
        sending.join().expect("no panic");
        let gone = there.expect(Kind::Ready).expect_err("the other side has ended");
        assert!(gone.to_string().contains("it has gone"), "{gone}");
    }

    #[test]
    fn what_was_not_expected_is_an_error_that_tells() {
        let (mut here, mut there) = pair();
        here.send(Kind::Refusal, b"draining").expect("sent");
        here.send(Kind::Ready, b"").expect("sent");
        for part in ["draining", "Ready"] {
            let error = there.expect(Kind::Offer).expect_err(part).to_string();
            assert!(error.contains(part), "{error}");
        }
        here.0.write_all(&[99, 0, 0, 0, 0, 0]).expect("sent");
        let error = there.receive().expect_err("no such kind").to_string();
        assert!(error.contains("unknown kind"), "{error}");
    }
}

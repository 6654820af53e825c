//! The end of a connection.

use std::io::ErrorKind;
use std::net::Shutdown;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use socket2::SockRef;
use tokio::time::timeout;

use super::Peer;

/// What a client may still send once it was told that nothing is read any more, in bytes and in time.
const LINGER_BYTES: usize = 4 * 1024 * 1024;
const LINGER: Duration = Duration::from_secs(5);

impl Peer {
    /// Ends the connection so that the client gets what was sent.
    ///
    /// Closing a socket that holds unread bytes resets it, and the reset overtakes the response
    /// (RFC 9112, 9.6): read on for a while, and let the client close first.
    pub(crate) async fn close(&self) {
        if self.reset.load(Relaxed) {
            let _ = SockRef::from(&self.tcp).set_linger(Some(Duration::ZERO));
        } else if self.unread.load(Relaxed) || self.has_sent_more() {
            let _ = SockRef::from(&self.tcp).shutdown(Shutdown::Write);
            let _ = timeout(LINGER, self.discard()).await;
        }
    }

    /// Whether the client sent something that nobody read.
    fn has_sent_more(&self) -> bool {
        matches!(self.tcp.try_read(&mut [0]), Ok(1..))
    }

    async fn discard(&self) {
        // On the heap, as what this future holds is held by each connection from its beginning.
        let mut scratch = vec![0; 4096];
        let mut left = LINGER_BYTES;
        while left > 0 && self.tcp.readable().await.is_ok() {
            match self.tcp.try_read(&mut scratch) {
                Ok(0) => return,
                Ok(n) => left = left.saturating_sub(n),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(_) => return,
            }
        }
    }
}

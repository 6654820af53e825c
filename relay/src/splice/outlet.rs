//! The way of spliced bytes to one client: a pipe, and the account of what is owed from it.

use std::fmt;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Waker, ready};

use tokio::io::Interest;
use tokio::net::TcpStream;

use super::pipe::Pipe;

/// Belongs to a client's connection; used by its socket and by the body under way. Both are on one thread: the lock
/// is never contended.
#[derive(Default)]
pub(crate) struct Outlet {
    account: Mutex<Account>,
    /// Nothing may be written any more: what the library believes to be sent and what was sent differ.
    shut: AtomicBool,
}

#[derive(Default)]
struct Account {
    pipe: Option<Pipe>,
    /// A body is under way that may put more into the pipe.
    feeding: bool,
    /// Bytes that were sent out of the pipe, of which the library has not taken note yet.
    unsettled: usize,
    /// Who wants to fill the pipe once it is empty.
    feeder: Option<Waker>,
}

/// What became of an attempt to fill the pipe.
#[derive(Debug)]
pub(crate) enum Fill {
    /// So many bytes. Zero: the instance has closed.
    Moved(usize),
    /// The client has yet to take what is there.
    ClientIsSlow,
}

impl Outlet {
    fn account(&self) -> MutexGuard<'_, Account> {
        self.account.lock().expect("nothing panics while it holds the lock")
    }

    /// Prepares for a body. `None` if there is no pipe to be had.
    pub(crate) fn open(self: &Arc<Self>) -> Option<Feeding> {
        self.check().ok()?;
        let mut account = self.account();
        if account.pipe.is_none() {
            account.pipe = Some(Pipe::take()?);
        }
        account.feeding = true;
        Some(Feeding(self.clone()))
    }

    /// Moves up to `most` bytes from the instance's socket into the pipe, once it is empty: a full pipe and an empty
    /// socket give the same answer, and the pipe is refilled at one go.
    ///
    /// # Errors
    /// The instance's connection failed, or the client's was given up.
    pub(crate) fn poll_fill(
        &self,
        cx: &mut Context<'_>,
        from: &TcpStream,
        most: usize,
    ) -> Poll<io::Result<Fill>> {
        let mut account = self.account();
        let Account { pipe: Some(pipe), feeder, .. } = &mut *account else {
            return Poll::Ready(Err(out_of_account()));
        };
        if pipe.held() > 0 {
            *feeder = Some(cx.waker().clone());
            return Poll::Ready(Ok(Fill::ClientIsSlow));
        }
        loop {
            ready!(from.poll_read_ready(cx))?;
            match from.try_io(Interest::READABLE, || pipe.fill(from, most)) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                result => return Poll::Ready(result.map(Fill::Moved)),
            }
        }
    }

    /// Resolves once the client has taken all that is in the pipe.
    pub(crate) fn poll_empty(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut account = self.account();
        if account.pipe.as_ref().is_some_and(|pipe| pipe.held() > 0) {
            account.feeder = Some(cx.waker().clone());
            return Poll::Pending;
        }
        Poll::Ready(())
    }

    /// Takes the pipe out, once it is empty, for somebody else to fill and [`put`](Self::put) back.
    ///
    /// # Errors
    /// There is none, or the client's connection was given up.
    pub(crate) fn poll_take(&self, cx: &mut Context<'_>) -> Poll<io::Result<Pipe>> {
        ready!(self.poll_empty(cx));
        Poll::Ready(self.account().pipe.take().ok_or_else(out_of_account))
    }

    /// Puts a pipe in with what the client is to get. The one that is there must be [empty](Self::poll_empty).
    ///
    /// # Errors
    /// The client's connection was given up meanwhile.
    pub(crate) fn put(&self, pipe: Pipe) -> io::Result<()> {
        self.check()?;
        let drained = self.account().pipe.replace(pipe);
        drained.into_iter().for_each(Pipe::give_back);
        Ok(())
    }

    /// Moves up to `most` bytes from the pipe to the client's socket. `most` is what the library holds stand-ins for.
    ///
    /// # Errors
    /// `WouldBlock`; or that the library wants more sent than there is, and then nothing is sent any more.
    pub(crate) fn send(&self, to: &TcpStream, most: usize) -> io::Result<usize> {
        let mut account = self.account();
        let Some(pipe) = account.pipe.as_mut().filter(|pipe| most <= pipe.held()) else {
            drop(account);
            self.shut();
            return Err(out_of_account());
        };
        let n = to.try_io(Interest::WRITABLE, || pipe.drain(to, most))?;
        account.unsettled += n;
        account.release_if_done();
        Ok(n)
    }

    /// The library took note of `n` bytes of stand-ins. Had they not been sent by [`send`](Self::send), it would have
    /// them somewhere else and send them from there.
    pub(crate) fn settle(&self, n: usize) {
        let mut account = self.account();
        match account.unsettled.checked_sub(n) {
            Some(unsettled) => account.unsettled = unsettled,
            None => {
                drop(account);
                tracing::error!("the HTTP library took {n} bytes that were not sent: connection given up");
                self.shut();
            }
        }
    }

    /// Gives the connection up: nothing can be written any more.
    pub(crate) fn shut(&self) {
        self.shut.store(true, Relaxed);
        let mut account = self.account();
        account.feeding = false;
        account.pipe = None;
        account.feeder.take().into_iter().for_each(Waker::wake);
    }

    /// To be asked before every write.
    ///
    /// # Errors
    /// After [`shut`](Self::shut).
    pub(crate) fn check(&self) -> io::Result<()> {
        if self.is_shut() { Err(out_of_account()) } else { Ok(()) }
    }

    fn is_shut(&self) -> bool {
        self.shut.load(Relaxed)
    }
}

/// The right of one body to put bytes in. What is in the pipe at its end is still owed to the client.
pub(crate) struct Feeding(Arc<Outlet>);

impl Feeding {
    pub(crate) fn outlet(&self) -> &Arc<Outlet> {
        &self.0
    }
}

impl Drop for Feeding {
    fn drop(&mut self) {
        let mut account = self.0.account();
        account.feeding = false;
        account.feeder = None;
        account.release_if_done();
    }
}

impl Account {
    /// With an empty pipe: asks for more, or gives it back if there is no more.
    fn release_if_done(&mut self) {
        if self.pipe.as_ref().is_some_and(|pipe| pipe.held() == 0) {
            self.feeder.take().into_iter().for_each(Waker::wake);
            if !self.feeding {
                self.pipe.take().into_iter().for_each(Pipe::give_back);
            }
        }
    }
}

fn out_of_account() -> io::Error {
    io::Error::other("a response's bytes went astray")
}

impl fmt::Debug for Outlet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outlet").field("shut", &self.shut).finish_non_exhaustive()
    }
}

//! A thread and a runtime for the control plane, so that no report, scrape or dashboard can slow a request.

use std::{
    any::Any,
    io,
    thread::{self, JoinHandle},
    time::Duration,
};

use tokio::{runtime, sync::oneshot};

/// How long a thread that waited for the disk is kept for the next such wait. The allocator gives back what it keeps for
/// a thread when that ends: after a save of what was learned that is some MB, for a thread that has a minute to idle.
const IDLE: Duration = Duration::from_millis(100);

/// A future at work on a thread of its own. Dropping the handle lets it run on unwatched.
#[must_use = "a control plane that dies unseen leaves a balancer that routes by an old plan"]
pub struct OwnThread<T> {
    name: String,
    thread: JoinHandle<T>,
    /// Never sent to: dropped when the thread ends, whichever way.
    ended: oneshot::Receiver<()>,
}

/// Why a thread gave no result.
#[derive(Debug, thiserror::Error)]
pub enum ThreadError {
    #[error("cannot start thread {name}: {source}")]
    Start { name: String, source: io::Error },
    #[error("thread {name} panicked: {message}")]
    Panicked { name: String, message: String },
}

/// Runs what `make` returns on a new thread called `name` (the system shows its first 15 bytes), in a
/// single-threaded runtime of its own.
///
/// `make` is called on that thread, so its future need not be `Send`. Tasks that it spawned are dropped when it ends.
pub fn run_on_own_thread<T, F>(
    name: &str,
    make: impl FnOnce() -> F + Send + 'static,
) -> Result<OwnThread<T>, ThreadError>
where
    F: Future<Output = T>,
    T: Send + 'static,
{
    let failed = |source| ThreadError::Start { name: name.to_owned(), source };
    let runtime = runtime::Builder::new_current_thread().enable_all().thread_keep_alive(IDLE).build();
    let runtime = runtime.map_err(failed)?;
    let (alive, ended) = oneshot::channel::<()>();
    let body = move || {
        let _alive = alive;
        let result = runtime.block_on(async { make().await });
        // A blocking read that hangs (name service, disk) must not keep the program from ending.
        runtime.shutdown_background();
        result
    };
    let thread = thread::Builder::new().name(name.to_owned()).spawn(body).map_err(failed)?;
    Ok(OwnThread { name: name.to_owned(), thread, ended })
}

impl<T> OwnThread<T> {
    /// Waits without blocking a runtime until the thread is about to end; [`join`](Self::join) then returns at once.
    /// For a `select!` beside the data path, so that a dead control plane is noticed.
    pub async fn ended(&mut self) {
        // `Err` is how it ends: nothing is ever sent. Polling a closed channel again is allowed only through
        // `is_terminated`, as a second call must not panic.
        if !self.ended.is_terminated() {
            (&mut self.ended).await.unwrap_or(());
        }
    }

    /// Blocks until the thread has ended; its result, or its panic as an error.
    pub fn join(self) -> Result<T, ThreadError> {
        let Self { name, thread, .. } = self;
        thread.join().map_err(|panic| ThreadError::Panicked { name, message: message(&*panic) })
    }
}

fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "no message".into())
}

#[cfg(test)]
mod tests {
    use std::{cell::RefCell, rc::Rc};

    use super::*;

    thread_local! {
        /// Dropped when the thread ends.
        static UNTIL_THE_END: RefCell<Option<oneshot::Sender<()>>> = const { RefCell::new(None) };
    }

    #[test]
    fn the_future_runs_under_its_name_and_its_result_comes_back() {
        let thread = run_on_own_thread("control", || async {
            let not_send = Rc::new(7);
            tokio::task::yield_now().await;
            (thread::current().name().map(str::to_owned), *not_send)
        })
        .expect("a thread");
        assert_eq!(thread.join().expect("no panic"), (Some("control".into()), 7));
    }

    #[test]
    fn an_error_of_the_future_is_its_result() {
        let thread = run_on_own_thread("control", || async { Err::<(), _>("no port") });
        assert_eq!(thread.expect("a thread").join().expect("no panic"), Err("no port"));
    }

    #[test]
    fn a_thread_that_waited_for_the_disk_ends_soon() {
        let (held, ended) = oneshot::channel::<()>();
        let thread = run_on_own_thread("control", || async move {
            let wait = tokio::task::spawn_blocking(move || UNTIL_THE_END.set(Some(held)));
            wait.await.expect("no panic");
            // The runtime goes on meanwhile: its end would be that of the thread.
            tokio::time::timeout(Duration::from_secs(5), ended).await.is_ok()
        });
        assert!(thread.expect("a thread").join().expect("no panic"), "it is still there");
    }

    #[tokio::test]
    async fn a_panic_is_noticed_and_told() {
        let mut thread = run_on_own_thread("control", || async { panic!("lost {}", 1) }).expect("a thread");
        thread.ended().await;
        thread.ended().await;
        let error = thread.join().map(|(): ()| ()).expect_err("it panicked");
        assert_eq!(error.to_string(), "thread control panicked: lost 1");
    }
}

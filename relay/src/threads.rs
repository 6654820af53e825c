//! Data threads: one single-threaded runtime each, so that a connection never changes threads.

use std::future::Future;
use std::io;
use std::thread::{Builder, JoinHandle};

use tokio::runtime::{LocalOptions, LocalRuntime};

/// Running data threads.
pub struct DataThreads {
    threads: Vec<JoinHandle<()>>,
}

impl DataThreads {
    /// Starts a thread per item; `main` runs there to its end, and may spawn local tasks.
    ///
    /// # Errors
    /// If a runtime or a thread can not be made.
    pub fn start<T, F, Fut>(name: &str, items: Vec<T>, main: F) -> io::Result<Self>
    where
        T: Send + 'static,
        F: Fn(T) -> Fut + Clone + Send + 'static,
        Fut: Future<Output = ()>,
    {
        let start_one = |(index, item): (usize, T)| {
            let main = main.clone();
            Builder::new().name(format!("{name}-{index}")).spawn(move || run(main(item)))
        };
        let threads = items.into_iter().enumerate().map(start_one).collect::<io::Result<_>>()?;
        Ok(Self { threads })
    }

    /// Waits for all of them.
    ///
    /// # Errors
    /// The names of threads that panicked.
    pub fn join(self) -> Result<(), String> {
        let name = |thread: &JoinHandle<()>| thread.thread().name().unwrap_or("a data thread").to_owned();
        let panicked: Vec<_> = self
            .threads
            .into_iter()
            .filter_map(|thread| {
                let name = name(&thread);
                thread.join().err().map(|_| name)
            })
            .collect();
        if panicked.is_empty() { Ok(()) } else { Err(format!("panicked: {}", panicked.join(", "))) }
    }
}

fn run(main: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build_local(LocalOptions::default())
        .expect("a runtime needs only descriptors, which a starting process has");
    runtime.block_on(main);
    // Tasks that outlived `main` (tunnels, idle connections) end here, with the runtime. A blocking thread that waits for
    // a disk or a name server is not waited for.
    LocalRuntime::shutdown_background(runtime);
}

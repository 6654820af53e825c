use std::{
    fmt::Display,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use super::Stamp;

/// A look costs a system call per file: often enough for an operator, too seldom to matter.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Something made of files, and made again when one of them changes. If it then can not be made, that is logged once,
/// and what is in force stays: certificate and key are often replaced one after the other.
pub(super) struct Watched<T, E> {
    files: Vec<PathBuf>,
    make: Box<dyn Fn() -> Result<T, E> + Send + Sync>,
    state: Mutex<State<T>>,
}

struct State<T> {
    value: Arc<T>,
    stamps: Vec<Option<Stamp>>,
    looked_at: Instant,
}

impl<T, E: Display> Watched<T, E> {
    pub(super) fn new(
        files: Vec<PathBuf>,
        make: impl Fn() -> Result<T, E> + Send + Sync + 'static,
    ) -> Result<Self, E> {
        // Before reading: what changes meanwhile is read again.
        let stamps = stamps(&files);
        let state = State { value: Arc::new(make()?), stamps, looked_at: Instant::now() };
        Ok(Self { files, make: Box::new(make), state: Mutex::new(state) })
    }

    pub(super) fn current(&self) -> Arc<T> {
        self.current_at(Instant::now())
    }

    pub(super) fn current_at(&self, now: Instant) -> Arc<T> {
        let mut state = self.locked();
        if now.saturating_duration_since(state.looked_at) >= LOOK_EVERY {
            state.looked_at = now;
            self.refresh(&mut state);
        }
        state.value.clone()
    }

    fn refresh(&self, state: &mut State<T>) {
        let stamps = stamps(&self.files);
        if stamps == state.stamps {
            return;
        }
        state.stamps = stamps;
        match (self.make)() {
            Ok(value) => {
                tracing::info!(files = ?self.files, "certificates changed: the new ones are in force");
                state.value = Arc::new(value);
            }
            Err(error) => tracing::error!("the certificates in use stay: {error}"),
        }
    }

    fn locked(&self) -> MutexGuard<'_, State<T>> {
        // Nothing is left half done: what was made is put in place whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn stamps(files: &[PathBuf]) -> Vec<Option<Stamp>> {
    files.iter().map(|file| Stamp::of(file)).collect()
}

//! The directory: one file per service, replaced whole or not at all.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use sluice_proto::ServiceName;

use super::{SavedService, Unusable};

/// Longer than what 65,535 classes and 16,384 URLs come to.
const MOST: u64 = 256 << 20;

/// A directory that was found to be writable.
#[derive(Clone, Debug)]
pub struct StateDir {
    path: PathBuf,
    /// One writer at a time, as the temporary file has a fixed name.
    writing: Arc<Mutex<()>>,
}

impl StateDir {
    /// Makes the directory, for its owner only, if it is not there, and tries to write to it.
    ///
    /// # Errors
    /// If it can not be made, read or written.
    pub fn open(path: &Path) -> io::Result<Self> {
        if !path.is_dir() {
            DirBuilder::new().recursive(true).mode(0o700).create(path)?;
        }
        fs::read_dir(path)?;
        let this = Self { path: path.to_owned(), writing: Arc::default() };
        let probe = path.join(format!(".probe-{}", std::process::id()));
        create(&probe)?;
        fs::remove_file(&probe)?;
        Ok(this)
    }

    /// Where a service's knowledge is.
    pub fn file(&self, service: &ServiceName) -> PathBuf {
        self.path.join(format!("learned-{service}.json"))
    }

    /// What was saved of a service; `None`: nothing, or nothing of use, of which a warning tells.
    pub fn load(&self, service: &ServiceName) -> Option<SavedService> {
        let file = self.file(service);
        match read(&file).and_then(|text| SavedService::parse(&text, service)) {
            Ok(saved) => {
                tracing::info!(file = %file.display(), "continuing with what was learned before");
                Some(saved)
            }
            Err(Unusable::Unreadable(error)) if error.kind() == io::ErrorKind::NotFound => None,
            Err(reason) => {
                tracing::warn!("{} is ignored: {reason}; what was learned before is lost", file.display());
                None
            }
        }
    }

    /// Replaces a service's file. Blocks until the disk has it.
    ///
    /// # Errors
    /// If it can not be written; then the file is as it was.
    pub fn save(&self, saved: &SavedService) -> io::Result<()> {
        let text = serde_json::to_vec(saved)?;
        let _one_at_a_time = self.writing.lock().expect("no code panics while holding it");
        let file = self.file(&saved.service);
        let temporary = file.with_extension("json.new");
        write(&temporary, &text).inspect_err(|_| drop(fs::remove_file(&temporary)))?;
        fs::rename(&temporary, &file)?;
        // Else a crash could bring the old file back.
        File::open(&self.path)?.sync_all()
    }
}

fn read(file: &Path) -> Result<Vec<u8>, Unusable> {
    let file = File::open(file)?;
    let length = file.metadata()?.len();
    if length > MOST {
        return Err(Unusable::TooLong(length));
    }
    let mut text = Vec::new();
    file.take(MOST).read_to_end(&mut text)?;
    Ok(text)
}

fn write(path: &Path, text: &[u8]) -> io::Result<()> {
    let mut file = create(path)?;
    file.write_all(text)?;
    file.sync_all()
}

/// A new file for its owner only, whatever was there.
fn create(path: &Path) -> io::Result<File> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)
}

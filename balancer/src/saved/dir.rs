//! The directory: one file per service, replaced whole or not at all.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, BufWriter, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use sluice_proto::ServiceName;

use super::{SavedService, Unusable};

/// Longer than what 65,535 classes and 16,384 URLs come to.
const MOST: u64 = 256 << 20;
/// A file is made and written in pieces of this many bytes. As a whole it would be a few MB of memory more, for as long
/// as the disk takes.
const PIECE: usize = 64 << 10;

/// A directory that was found to be writable.
#[derive(Clone, Debug)]
pub struct StateDir {
    path: PathBuf,
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
        let probe = path.join(format!(".probe-{}", std::process::id()));
        create(&probe)?;
        fs::remove_file(&probe)?;
        Ok(Self { path: path.to_owned() })
    }

    /// Where a service's knowledge is.
    pub fn file(&self, service: &ServiceName) -> PathBuf {
        self.path.join(format!("learned-{service}.json"))
    }

    /// What was saved of a service; `None`: nothing, or nothing of use, of which a warning tells.
    pub fn load(&self, service: &ServiceName) -> Option<SavedService> {
        let saved = self.read(service).unwrap_or_else(|reason| {
            tracing::warn!(
                "{} is ignored: {reason}; nothing is known of before",
                self.file(service).display()
            );
            None
        })?;
        tracing::info!("continuing with what is known from {}", self.file(service).display());
        Some(saved)
    }

    fn read(&self, service: &ServiceName) -> Result<Option<SavedService>, Unusable> {
        match read(&self.file(service)) {
            Ok(text) => SavedService::parse(&text, service).map(Some),
            Err(Unusable::Unreadable(error)) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(reason) => Err(reason),
        }
    }

    /// Replaces a service's file. Blocks until the disk has it. One caller at a time.
    ///
    /// # Errors
    /// If it can not be written; then the file is as it was.
    pub fn save(&self, saved: &SavedService) -> io::Result<()> {
        let file = self.file(&saved.service);
        let temporary = file.with_extension("json.new");
        if let Err(error) = write(&temporary, saved) {
            // What is half written takes the room that is missing.
            fs::remove_file(&temporary).ok();
            return Err(error);
        }
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

fn write(path: &Path, saved: &SavedService) -> io::Result<()> {
    let mut file = create(path)?;
    write_in_pieces(&mut file, saved)?;
    file.sync_all()
}

fn write_in_pieces(to: impl Write, saved: &SavedService) -> io::Result<()> {
    let mut pieces = BufWriter::with_capacity(PIECE, to);
    serde_json::to_writer(&mut pieces, saved)?;
    pieces.flush()
}

/// A new file for its owner only, whatever was there.
fn create(path: &Path) -> io::Result<File> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decide::membership::Word;
    use crate::decide::schedule::{Scheduler, Settings};
    use crate::saved::SCHEMA;
    use std::collections::HashMap;
    use std::os::unix::fs::PermissionsExt;

    fn saved(service: &str) -> SavedService {
        let rng = fastrand::Rng::with_seed(1);
        let scheduler: Scheduler<()> = Scheduler::new(crate::pool::now(), Settings::default(), rng);
        SavedService {
            schema: SCHEMA,
            version: "test".to_owned(),
            saved_at_ms: 7,
            service: service.parse().expect("a name"),
            operator: Default::default(),
            templates: Default::default(),
            learned: scheduler.knowledge().state(&HashMap::new(), &HashMap::new()),
        }
    }

    #[test]
    fn a_file_is_replaced_whole_and_is_for_its_owner_alone() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let state = StateDir::open(&dir.path().join("a/b")).expect("it can be made");
        let saved = saved("shop");
        assert!(state.read(&saved.service).expect("nothing is no fault").is_none());
        // Left over by a crash, and open to all.
        let temporary = state.file(&saved.service).with_extension("json.new");
        fs::write(&temporary, "half").expect("written");
        for _ in 0..2 {
            state.save(&saved).expect("there is room");
        }
        let read = state.read(&saved.service).expect("just written").expect("just written");
        assert_eq!((read.service, read.saved_at_ms), (saved.service.clone(), 7));
        let mode = fs::metadata(state.file(&saved.service)).expect("there").permissions().mode();
        assert_eq!((mode & 0o777, temporary.exists()), (0o600, false));
    }

    /// Remembers how long the longest piece was.
    #[derive(Default)]
    struct Pieces {
        text: Vec<u8>,
        longest: usize,
    }

    impl Write for Pieces {
        fn write(&mut self, piece: &[u8]) -> io::Result<usize> {
            self.longest = self.longest.max(piece.len());
            self.text.extend_from_slice(piece);
            Ok(piece.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_long_file_is_never_in_memory_as_a_whole() {
        let mut saved = saved("shop");
        let name = |n: u32| format!("instance-{n}").parse().expect("a name");
        saved.operator = (0..20_000).map(|n| (name(n), Word::Drain)).collect();
        let mut pieces = Pieces::default();
        write_in_pieces(&mut pieces, &saved).expect("there is room");
        assert!(pieces.text.len() > 4 * PIECE, "{} bytes are too few to tell", pieces.text.len());
        assert!(pieces.longest <= PIECE, "{}", pieces.longest);
        let read = SavedService::parse(&pieces.text, &saved.service).expect("just written");
        assert_eq!(read.operator, saved.operator);
    }

    #[test]
    fn a_file_that_there_is_no_room_for_is_an_error() {
        let full = File::options().write(true).open("/dev/full").expect("Linux has it");
        let error = write_in_pieces(full, &saved("shop")).expect_err("it is full");
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
    }

    #[test]
    fn why_a_file_is_of_no_use_is_told() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let state = StateDir::open(dir.path()).expect("it is there");
        let good = serde_json::to_string(&saved("shop")).expect("plain data");
        let service: ServiceName = "shop".parse().expect("a name");
        for (text, part) in [
            (String::new(), "damaged: EOF"),
            (good[..good.len() - 9].to_owned(), "damaged: EOF"),
            ("{\"a\": 1}".to_owned(), "damaged: missing field `schema`"),
            (good.replacen("\"schema\":1", "\"schema\":9", 1), "of schema 9, and this program reads 1"),
            (good.replacen("\"shop\"", "\"mail\"", 1), "of the service mail"),
        ] {
            fs::write(state.file(&service), text).expect("written");
            let reason = state.read(&service).expect_err(part).to_string();
            assert!(reason.contains(part), "{reason}");
        }
        fs::remove_file(state.file(&service)).expect("there");
        fs::create_dir(state.file(&service)).expect("made");
        let reason = state.read(&service).expect_err("a directory").to_string();
        assert!(reason.contains("can not be read"), "{reason}");
    }
}

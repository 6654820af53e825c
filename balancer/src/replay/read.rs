//! From a file to the decisions in it.

use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};

use sluice_process::Progress;

use crate::decide::decision::{Decision, Head, Line, SCHEMA};
use crate::decide::plan::PlanParams;

/// One decision, and what held for it.
#[derive(Clone, Debug, PartialEq)]
pub struct Recorded {
    pub run: u64,
    pub params: PlanParams,
    pub decision: Decision,
}

/// Why a file can not be replayed.
#[derive(Debug, thiserror::Error)]
#[error("{}{at}: {reason}", path.display())]
pub struct ReadError {
    path: PathBuf,
    /// `, line N`, or nothing.
    at: String,
    reason: Reason,
}

#[derive(Debug, thiserror::Error)]
enum Reason {
    #[error("it can not be read: {0}")]
    Io(#[from] io::Error),
    #[error("this is no line of a log of decisions: {0}")]
    Json(#[from] serde_json::Error),
    #[error("it is of schema {0}, and this program reads {SCHEMA}")]
    Schema(u32),
    #[error("a decision, but no head before it that says what it was made with")]
    NoHead,
    #[error("there is no decision in it")]
    Empty,
}

/// All decisions of a file, in its order. A last line without an end, as a crash leaves it, is left
/// out.
///
/// # Errors
/// With the number of the line.
pub fn read(path: &Path) -> Result<Vec<Recorded>, ReadError> {
    let fail = |at: String, reason| ReadError { path: path.to_owned(), at, reason };
    let file = File::open(path).map_err(|error| fail(String::new(), error.into()))?;
    let mut progress = Progress::new("reading", file.metadata().map_or(0, |about| about.len()));
    let recorded = read_lines(BufReader::new(file), &mut progress)
        .map_err(|(number, reason)| fail(format!(", line {number}"), reason))?;
    if recorded.is_empty() { Err(fail(String::new(), Reason::Empty)) } else { Ok(recorded) }
}

/// The same of bytes at hand; for tests/fuzzing.
#[doc(hidden)]
pub fn read_bytes(bytes: &[u8]) -> Result<Vec<Recorded>, String> {
    read_lines(bytes, &mut Progress::new("reading", 0))
        .map_err(|(line, reason)| format!("line {line}: {reason}"))
}

fn read_lines(mut from: impl BufRead, progress: &mut Progress) -> Result<Vec<Recorded>, (usize, Reason)> {
    let (mut head, mut recorded) = (None, Vec::new());
    let mut text = Vec::new();
    for number in 1.. {
        text.clear();
        let length = from.read_until(b'\n', &mut text).map_err(|error| (number, error.into()))?;
        progress.add(length as u64);
        match read_line(&text, &mut head) {
            _ if length == 0 => break,
            Ok(decision) => recorded.extend(decision),
            Err(Reason::Json(error)) if error.is_eof() && !text.ends_with(b"\n") => break,
            Err(reason) => return Err((number, reason)),
        }
    }
    Ok(recorded)
}

fn read_line(text: &[u8], head: &mut Option<Head>) -> Result<Option<Recorded>, Reason> {
    if text.trim_ascii().is_empty() {
        return Ok(None);
    }
    match serde_json::from_slice(text)? {
        Line::Head(new) if new.schema != SCHEMA => Err(Reason::Schema(new.schema)),
        Line::Head(new) => {
            *head = Some(new);
            Ok(None)
        }
        Line::Decision(decision) => {
            let Head { run, params, .. } = head.as_ref().ok_or(Reason::NoHead)?;
            Ok(Some(Recorded { run: *run, params: *params, decision: *decision }))
        }
    }
}

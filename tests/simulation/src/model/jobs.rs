//! All jobs that have not ended, by small numbers.

use crate::policy::JobId;
use crate::time::Nanos;

/// A job with what only the world knows of it.
#[derive(Clone, Debug)]
pub(crate) struct Record {
    pub(crate) id: JobId,
    /// What it is.
    pub(crate) class: usize,
    /// What it looks like.
    pub(crate) label: usize,
    pub(crate) site: Option<u32>,
    pub(crate) bytes: u64,
    /// Work at speed 1 with everything cached.
    pub(crate) work: Nanos,
    /// Time that its client takes after the worker is free.
    pub(crate) stream: Nanos,
    pub(crate) arrived: Nanos,
    pub(crate) started: Nanos,
    pub(crate) stage: Stage,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    Queued,
    /// Sent to this instance.
    Sent(usize),
    Gone,
}

#[derive(Debug, Default)]
pub(crate) struct Jobs {
    records: Vec<Record>,
    free: Vec<u32>,
}

impl Jobs {
    /// Gives the record that `make` builds an id and keeps it.
    pub(crate) fn add(&mut self, make: impl FnOnce(JobId) -> Record) -> JobId {
        let Some(index) = self.free.pop() else {
            let index = u32::try_from(self.records.len()).expect("fewer than 4 billion jobs at a time");
            let id = JobId { generation: 0, index };
            self.records.push(make(id));
            return id;
        };
        let record = &mut self.records[index as usize];
        let id = JobId { generation: record.id.generation.wrapping_add(1), index };
        *record = make(id);
        id
    }

    /// The job, which must not have ended.
    pub(crate) fn get(&mut self, id: JobId) -> &mut Record {
        &mut self.records[id.index()]
    }

    /// The job as any caller may name it; `None`: it ended, or never was.
    pub(crate) fn find(&mut self, id: JobId) -> Option<&mut Record> {
        self.records.get_mut(id.index()).filter(|r| r.id == id && r.stage != Stage::Gone)
    }

    pub(crate) fn remove(&mut self, id: JobId) {
        self.get(id).stage = Stage::Gone;
        self.free.push(id.index);
    }

    pub(crate) fn live(&self) -> usize {
        self.records.len() - self.free.len()
    }
}

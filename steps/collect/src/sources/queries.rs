//! Sources that answer queries chunk by chunk: what `prometheus` and `recording` share.

use std::collections::BTreeMap;
use std::path::PathBuf;

use contract::{Outcome, Span, StepError};
use document::sources::Entity;

use super::prometheus::assemble::{Assembler, Chunk, Column};
use super::recording::Recorder;
use crate::range::{ChunkPlan, Due};
use crate::source::{Each, Opening, Source, Stop};

/// Answers queries for chunks of time.
pub(crate) trait Answers: Send {
    /// Hands the replies of all chunks to `write`, in order of time.
    fn for_each_chunk(
        &self,
        plan: ChunkPlan,
        write: &mut dyn FnMut(Chunk) -> Result<(), StepError>,
    ) -> Result<(), StepError>;

    /// Returns what is counted.
    fn counts(&self) -> BTreeMap<&'static str, usize> {
        BTreeMap::new()
    }
}

/// A source whose rows are made of the answers to queries.
pub(crate) struct Queries<'a, A> {
    answers: A,
    columns: Vec<Column>,
    entity: &'a Entity,
    due: Due,
    step: Span,
    is_scoring: bool,
    record: Option<PathBuf>,
    recorder: Option<Recorder>,
    assembler: Assembler<'a>,
    chunks: usize,
}

impl<'a, A: Answers> Queries<'a, A> {
    /// Makes the source of what answers its queries.
    pub(crate) fn new(answers: A, opening: Opening<'a>) -> Self {
        let entity = &opening.settings.entity;
        let columns: Vec<Column> =
            opening.settings.queries.iter().map(|query| Column::new(query, entity)).collect();
        let assembler = Assembler::new(columns.clone(), entity, opening.is_scoring);
        Self {
            answers,
            columns,
            entity,
            due: opening.due,
            step: opening.document.step,
            is_scoring: opening.is_scoring,
            record: opening.record,
            recorder: None,
            assembler,
            chunks: 0,
        }
    }
}

impl<A: Answers> Source for Queries<'_, A> {
    fn columns(&self) -> Vec<String> {
        self.columns.iter().map(|column| column.name.clone()).collect()
    }

    fn rows(&mut self, each: &mut Each<'_>) -> Result<(), Stop> {
        let by_entity = self.columns.iter().any(|column| !column.labels.is_empty());
        let plan = ChunkPlan::new(self.due.grid(self.step), self.columns.len(), by_entity);
        self.recorder = match &self.record {
            Some(folder) => Some(Recorder::new(folder, &self.columns)?),
            None => None,
        };
        self.assembler = Assembler::new(self.columns.clone(), self.entity, self.is_scoring);
        self.chunks = 0;
        let Self { answers, assembler, recorder, chunks, .. } = self;
        answers.for_each_chunk(plan, &mut |chunk| {
            if let Some(recorder) = recorder {
                recorder.keep(&chunk);
            }
            *chunks += 1;
            each(assembler.rows(chunk)?)
        })?;
        Ok(())
    }

    fn finish(&mut self, outcome: &mut Outcome) -> Result<(), StepError> {
        let nothing_due = self.due.after >= self.due.end;
        self.assembler.finish(self.is_scoring, nothing_due, outcome)?;
        match (&self.recorder, &self.record) {
            (Some(recorder), Some(folder)) => recorder.write(folder),
            _ => Ok(()),
        }
    }

    fn counts(&self) -> BTreeMap<&'static str, usize> {
        let mut counts = self.answers.counts();
        counts.insert("chunks", self.chunks);
        counts.insert("points_ignored", self.assembler.ignored_points());
        counts
    }
}

//! Common code of `prometheus` and `recording`: sources that answer queries chunk by chunk.

use std::collections::BTreeMap;
use std::path::PathBuf;

use contract::coverage::Gap;
use contract::{Outcome, Span, StepError};
use document::sources::Entity;

use super::prometheus::assemble::Assembler;
use super::prometheus::chunk::Chunk;
use super::prometheus::column::Column;
use super::recording::Recorder;
use crate::range::{ChunkPlan, Due};
use crate::source::{Each, End, Opening, Source, Stop};

/// Answers queries for chunks of time.
pub(crate) trait Answers: Send {
    /// Passes the replies of all chunks to `write`, in order of time.
    fn for_each_chunk(
        &self,
        plan: ChunkPlan,
        write: &mut dyn FnMut(Chunk) -> Result<(), StepError>,
    ) -> Result<(), StepError>;

    /// Returns the counts.
    fn counts(&self) -> BTreeMap<&'static str, usize> {
        BTreeMap::new()
    }

    /// Returns notes for operators about the requests.
    fn notes(&self) -> Vec<String> {
        Vec::new()
    }

    /// Returns, after all chunks, the reason why there is no value.
    fn diagnosis(&self) -> Option<String> {
        None
    }
}

/// A source whose rows are made of the answers to queries.
pub(crate) struct Queries<'a, A> {
    answers: A,
    columns: Vec<Column>,
    entity: &'a Entity,
    /// Label of the series whose value is the row's label.
    label: Option<&'a str>,
    due: Due,
    step: Span,
    is_scoring: bool,
    record: Option<PathBuf>,
    recorder: Option<Recorder>,
    assembler: Assembler<'a>,
    chunks: usize,
    /// The early end of the answers and its reason, if they are incomplete.
    end: Option<End>,
}

impl<'a, A: Answers> Queries<'a, A> {
    /// Makes the source from the provider of its answers.
    pub(crate) fn new(answers: A, opening: Opening<'a>) -> Self {
        let entity = &opening.settings.entity;
        let columns =
            opening.settings.queries.iter().map(|query| Column::new(query, entity)).collect();
        Self::with_columns(answers, columns, opening)
    }

    /// Makes the source from the provider of the answers for these columns.
    pub(crate) fn with_columns(answers: A, columns: Vec<Column>, opening: Opening<'a>) -> Self {
        let entity = &opening.settings.entity;
        let assembler = Assembler::new(columns.clone(), entity, opening.is_scoring);
        Self {
            answers,
            columns,
            entity,
            label: opening.settings.label.as_deref(),
            due: opening.due,
            step: opening.document.step,
            is_scoring: opening.is_scoring,
            record: opening.record,
            recorder: None,
            assembler,
            chunks: 0,
            end: None,
        }
    }
}

impl<A: Answers> Source for Queries<'_, A> {
    fn columns(&self) -> Vec<String> {
        let columns = self.columns.iter().map(|column| &column.name);
        columns.chain(self.entity.texts.keys()).cloned().collect()
    }

    fn is_labelled(&self) -> bool {
        self.label.is_some()
    }

    fn rows(&mut self, each: &mut Each<'_>) -> Result<(), Stop> {
        let by_entity = self.columns.iter().any(|column| !column.labels.is_empty());
        let grid = self.due.grid(self.step);
        let mut plan = ChunkPlan::new(grid, self.columns.len(), by_entity);
        if self.is_scoring {
            plan = plan.with_bound(grid.points_until(self.due.scored_to));
        }
        self.recorder = match &self.record {
            Some(folder) => Some(Recorder::new(folder, &self.columns)?),
            None => None,
        };
        self.assembler = Assembler::new(self.columns.clone(), self.entity, self.is_scoring)
            .with_label(self.label);
        self.chunks = 0;
        self.end = None;
        let Self { answers, assembler, recorder, chunks, end, step, .. } = self;
        answers.for_each_chunk(plan, &mut |chunk| {
            *end = Some(chunk.end(*step));
            if let Some(recorder) = recorder {
                recorder.keep(&chunk);
            }
            *chunks += 1;
            each(assembler.rows(chunk)?)
        })?;
        Ok(())
    }

    fn end(&self) -> Option<&End> {
        self.end.as_ref().filter(|end| end.at < self.due.end)
    }

    fn take_gaps(&mut self) -> Vec<Gap> {
        self.assembler.gaps.take()
    }

    fn diagnosis(&self) -> Option<String> {
        self.answers.diagnosis()
    }

    fn finish(&mut self, outcome: &mut Outcome) -> Result<(), StepError> {
        self.answers.notes().into_iter().for_each(|note| outcome.warn(note));
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

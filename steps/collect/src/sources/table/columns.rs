//! Roles of the columns of a table.

use std::path::Path;

use contract::StepError;
use document::sources::Entity;
use document::sources::table::TableSource;
use frames::FeatureTable;

/// A column of the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct FileColumn {
    /// Its position, counted from 0.
    pub(super) index: usize,
    /// Its name.
    pub(super) name: String,
}

/// The columns that are read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Columns {
    pub(super) time: Option<FileColumn>,
    pub(super) entity: Option<FileColumn>,
    pub(super) label: Option<FileColumn>,
    /// The samples, in the file's order, or in the document's order if it names them.
    pub(super) samples: Vec<FileColumn>,
    /// The texts, in the order of the names of their sample columns.
    pub(super) texts: Vec<FileColumn>,
}

impl Columns {
    /// Finds the document's columns among those of the file. If the document names no samples,
    /// every other column is a candidate. Also returns notes about renamed columns.
    pub(super) fn find(
        path: &Path,
        source: &TableSource,
        entity: &Entity,
        header: &[String],
    ) -> Result<(Self, Vec<String>), StepError> {
        if header.iter().all(String::is_empty) {
            return Err(StepError::refused(format!("`{}` has no header", path.display()))
                .hint("the first line must name the columns"));
        }
        let (header, notes) = numbered(header);
        let header = header.as_slice();
        let find = |name: &String| {
            let index = header.iter().position(|column| column == name);
            let found = index.map(|index| FileColumn { index, name: name.clone() });
            found.ok_or_else(|| unknown(path, name, header))
        };
        let time = source.time.as_ref().map(find).transpose()?;
        let texts: Vec<FileColumn> = entity.texts.values().map(find).collect::<Result<_, _>>()?;
        let entity = source.entity.as_ref().map(find).transpose()?;
        let label = source.label.as_ref().map(find).transpose()?;
        let keys: Vec<&FileColumn> = [&time, &entity, &label].into_iter().flatten().collect();
        for (index, key) in keys.iter().enumerate() {
            if keys[..index].iter().any(|other| other.index == key.index) {
                return Err(StepError::usage(format!(
                    "`table` uses the column `{}` for two of time, entity and label",
                    key.name
                ))
                .hint("use another column, or remove one of the fields"));
            }
        }
        let samples = if source.columns.is_empty() {
            let all = header.iter().enumerate();
            all.filter(|(index, _)| keys.iter().all(|key| key.index != *index))
                .filter(|(index, _)| texts.iter().all(|text| text.index != *index))
                .map(|(index, name)| FileColumn { index, name: name.clone() })
                .collect()
        } else {
            source.columns.iter().map(find).collect::<Result<_, _>>()?
        };
        let columns = Self { time, entity, label, samples, texts };
        columns.check_samples(path)?;
        Ok((columns, notes))
    }

    fn check_samples(&self, path: &Path) -> Result<(), StepError> {
        for (index, column) in self.samples.iter().enumerate() {
            let name = &column.name;
            let shown = path.display();
            if self.samples[..index].iter().any(|other| other.index == column.index) {
                return Err(StepError::usage(format!("`table.columns` names `{name}` twice"))
                    .hint("remove one of them"));
            }
            if !FeatureTable::RESERVED.contains(&name.as_str()) {
                continue;
            }
            let error = StepError::refused(format!(
                "`{shown}`: column `{name}` cannot be a sample: the name is reserved"
            ));
            return Err(match name.as_str() {
                "time" | "entity" | "label" => error.hint(format!(
                    "set `table.{name}: {name}`, or list the samples in `table.columns`"
                )),
                _ => error.hint("list the samples in `table.columns`"),
            });
        }
        Ok(())
    }

    /// Keeps the samples that `keep` accepts as numbers; refused if none is left.
    pub(super) fn retain(
        &mut self,
        path: &Path,
        mut keep: impl FnMut(&FileColumn) -> bool,
    ) -> Result<(), StepError> {
        self.samples.retain(|column| keep(column));
        if self.samples.is_empty() {
            return Err(StepError::refused(format!(
                "`{}` has no numeric column for samples",
                path.display()
            ))
            .hint("check `table.delimiter`"));
        }
        Ok(())
    }
}

/// Gives the second column of a name the name `name.1`, as pandas does, and so on.
fn numbered(header: &[String]) -> (Vec<String>, Vec<String>) {
    let mut names: Vec<String> = Vec::with_capacity(header.len());
    let mut notes = Vec::new();
    for name in header {
        let mut own = name.clone();
        let mut number = 1;
        while !name.is_empty() && (names.contains(&own) || number > 1 && header.contains(&own)) {
            own = format!("{name}.{number}");
            number += 1;
        }
        if own != *name {
            notes.push(format!("several columns are named `{name}`: one is read as `{own}`"));
        }
        names.push(own);
    }
    (names, notes)
}

fn unknown(path: &Path, name: &str, header: &[String]) -> StepError {
    let error = StepError::refused(format!("`{}` has no column `{name}`", path.display()));
    let known = header.iter().map(String::as_str);
    if let Some(meant) = document::closest(name, known.clone()) {
        return error.hint(format!("did you mean `{meant}`?"));
    }
    let names = crate::sources::prometheus::reply::one_line(&known.collect::<Vec<_>>().join(", "));
    error.hint(format!("its columns: {names}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_of_one_name_are_numbered_without_taking_the_name_of_another() {
        let names = ["a", "b", "a", "a.1", "a", "", ""].map(str::to_owned);
        let (names, notes) = numbered(&names);
        assert_eq!(names, ["a", "b", "a.2", "a.1", "a.3", "", ""]);
        assert_eq!(notes.len(), 2);
    }
}

//! The keys below a folder.

use std::io;
use std::path::Path;

use fs_err as fs;

use crate::key;

/// A walk through the folders in the order of the keys.
pub(super) struct Listing<'a> {
    pub(super) root: &'a Path,
    pub(super) prefix: &'a str,
    pub(super) after: &'a str,
    pub(super) limit: usize,
    pub(super) found: Vec<String>,
}

impl Listing<'_> {
    /// Adds the keys below a folder, given as the beginning of its keys (`a/b/`).
    pub(super) fn walk(&mut self, folder: &str) -> io::Result<()> {
        for name in entries(&self.root.join(folder))? {
            let path = format!("{folder}{name}");
            if name.ends_with('/') {
                let wanted = path.starts_with(self.prefix) || self.prefix.starts_with(&path);
                let past = path.as_str() < self.after && !self.after.starts_with(&path);
                if wanted && !past {
                    self.walk(&path)?;
                }
            } else if path.starts_with(self.prefix) && path.as_str() > self.after {
                self.found.push(path);
            }
            if self.found.len() >= self.limit {
                break;
            }
        }
        Ok(())
    }
}

/// Returns the names in a folder that can be parts of a key, in the order of the keys below them: a
/// folder's name ends with `/`, which is part of the sort key (`a.b` comes before `a/b`).
pub(super) fn entries(folder: &Path) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(e) if super::is_absent(&e) => return Ok(names),
        Err(e) => return Err(e),
    };
    for entry in entries {
        let entry = entry?;
        let Ok(mut name) = entry.file_name().into_string() else { continue };
        if key::check_part(&name).is_err() {
            continue;
        }
        let kind = entry.file_type()?;
        if kind.is_dir() || (kind.is_symlink() && entry.path().is_dir()) {
            name.push('/');
        }
        names.push(name);
    }
    names.sort_unstable();
    Ok(names)
}

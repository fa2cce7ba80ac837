//! Paths below the document's folder.

use std::path::{Component, Path, PathBuf};

/// Returns a path below a folder, with `..` resolved: `pipelines/../rows.csv` is `rows.csv`. A path
/// through a symbolic link, for which the two are different files, is not changed.
pub fn below(base: &Path, path: &Path) -> PathBuf {
    let joined = base.join(path);
    let mut short = PathBuf::new();
    for part in joined.components() {
        match part {
            Component::ParentDir if short.file_name().is_some() => drop(short.pop()),
            Component::CurDir => {}
            part => short.push(part),
        }
    }
    let place = |path: &Path| fs_err::canonicalize(path).ok();
    if short != joined && place(&short).is_some_and(|it| place(&joined) == Some(it)) {
        short
    } else {
        joined
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn detour_of_a_path_is_left_out_unless_a_link_lies_on_it() {
        let temp = tempfile::tempdir().unwrap();
        let at = |path: &str| temp.path().join(path);
        fs_err::create_dir_all(at("pipelines")).unwrap();
        fs_err::create_dir_all(at("far/away")).unwrap();
        fs_err::write(at("rows.csv"), "x").unwrap();
        fs_err::write(at("far/rows.csv"), "y").unwrap();
        let rows = Path::new("../rows.csv");
        assert_eq!(below(&at("pipelines"), rows), at("rows.csv"));
        assert_eq!(below(&at("pipelines"), Path::new("../gone.csv")), at("pipelines/../gone.csv"));
        std::os::unix::fs::symlink(at("far/away"), at("link")).unwrap();
        assert_eq!(below(&at("link"), rows), at("link/../rows.csv"), "it is another file");
        assert_eq!(fs_err::read_to_string(below(&at("link"), rows)).unwrap(), "y");
    }
}

//! A line of JSON for each message at the end of a file.

use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use contract::{StepError, Timestamp};
use document::channels::file::FileChannel;
use fs_err as fs;

use crate::channels::{Channel, Failure, Opener};
use crate::message::Message;

/// A file of JSON lines; the file and its folder are created if they do not exist.
#[derive(Debug)]
struct File {
    name: String,
    path: PathBuf,
}

impl Opener for FileChannel {
    /// Names the file.
    fn open(&self, folder: &Path) -> Box<dyn Channel> {
        Box::new(File {
            name: format!("file {}", self.path.display()),
            path: folder.join(&self.path),
        })
    }
}

impl File {
    fn append(&self, line: &[u8]) -> io::Result<()> {
        if let Some(folder) = self.path.parent().filter(|path| !path.as_os_str().is_empty()) {
            fs::create_dir_all(folder)?;
        }
        let mut file =
            fs::OpenOptions::new().read(true).append(true).create(true).open(&self.path)?;
        // Concurrent runs must not write into each other's lines.
        file.lock()?;
        if ends_inside_a_line(&mut file)? {
            file.write_all(b"\n")?;
        }
        file.write_all(line)?;
        file.sync_all()
    }
}

/// Whether the last writer did not finish its line.
fn ends_inside_a_line(file: &mut fs::File) -> io::Result<bool> {
    if file.seek(SeekFrom::End(0))? == 0 {
        return Ok(false);
    }
    file.seek(SeekFrom::End(-1))?;
    let mut last = [0];
    file.read_exact(&mut last)?;
    Ok(last != *b"\n")
}

impl Channel for File {
    fn name(&self) -> &str {
        &self.name
    }

    fn send(&mut self, message: &Message, _: Timestamp) -> Result<(), Failure> {
        let mut line = serde_json::to_vec(message)
            .map_err(|e| StepError::bug(format!("cannot write a message as JSON: {e}")))?;
        line.push(b'\n');
        self.append(&line).map_err(|e| {
            let error = StepError::writing(&self.path, &e);
            StepError::unavailable(error.message)
        })?;
        Ok(())
    }
}

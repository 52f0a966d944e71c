//! Which files a path stands for.

use std::collections::BTreeSet;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use evenkeel_core::findings::Unreadable;

/// What a folder is searched for.
const ENDINGS: [&str; 3] = ["yaml", "yml", "json"];

/// The files that a path stands for, sorted; `-` is standard input. A folder that links lead back to is entered once.
pub(super) fn files(path: &Path, problems: &mut Vec<Unreadable>) -> Vec<PathBuf> {
    if path == Path::new("-") || !path.is_dir() {
        return vec![path.into()];
    }
    let before = problems.len();
    let mut found = Vec::new();
    let mut entered = BTreeSet::new();
    let mut waiting = vec![path.to_path_buf()];
    while let Some(folder) = waiting.pop() {
        match fs::canonicalize(&folder) {
            Ok(real) => {
                if !entered.insert(real) {
                    continue;
                }
            }
            Err(error) => {
                problems.push(problem(&folder, &error));
                continue;
            }
        }
        match fs::read_dir(&folder) {
            Ok(entries) => {
                for entry in entries {
                    match entry {
                        Ok(entry) => sort_in(entry.path(), &mut waiting, &mut found, problems),
                        Err(error) => problems.push(problem(&folder, &error)),
                    }
                }
            }
            Err(error) => problems.push(problem(&folder, &error)),
        }
    }
    if found.is_empty() && problems.len() == before {
        problems.push(Unreadable {
            source: path.display().to_string(),
            reason: "holds no .yaml, .yml or .json file".into(),
        });
    }
    found.sort();
    found
}

/// Hidden entries are left out: mounted configuration keeps a second copy of everything in `..data`.
fn sort_in(
    path: PathBuf,
    waiting: &mut Vec<PathBuf>,
    found: &mut Vec<PathBuf>,
    problems: &mut Vec<Unreadable>,
) {
    let hidden = path
        .file_name()
        .is_some_and(|name| name.as_encoded_bytes().first() == Some(&b'.'));
    if hidden {
        return;
    }
    if path.is_dir() {
        waiting.push(path);
    } else if path
        .extension()
        .is_some_and(|ending| ENDINGS.iter().any(|one| ending.eq_ignore_ascii_case(one)))
    {
        // A pipe would wait for ever. A link to nowhere is kept, so that reading it tells.
        if path.is_file() || !path.exists() {
            found.push(path);
        } else {
            problems.push(Unreadable {
                source: path.display().to_string(),
                reason: "is a pipe, socket or device and not a file, and was not read".into(),
            });
        }
    }
}

#[cfg(unix)]
fn is_pipe(file: fs::FileType) -> bool {
    std::os::unix::fs::FileTypeExt::is_fifo(&file)
}

#[cfg(not(unix))]
fn is_pipe(_: fs::FileType) -> bool {
    false
}

/// The bytes of a file or of standard input, at most so many.
pub(super) fn bytes(path: &Path, most: u64) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    let limit = most.saturating_add(1);
    // A shell's `<(command)` is a link to a pipe and ends; a pipe with a name waits for somebody to write.
    if fs::symlink_metadata(path).is_ok_and(|one| is_pipe(one.file_type())) {
        return Err("is a named pipe, which may never end; pipe into `--from -` instead".into());
    }
    let done = if path == Path::new("-") {
        std::io::stdin().lock().take(limit).read_to_end(&mut bytes)
    } else {
        fs::File::open(path).and_then(|file| file.take(limit).read_to_end(&mut bytes))
    };
    match done {
        Err(error) => Err(error.to_string()),
        Ok(read) if read as u64 > most => Err(format!(
            "is larger than {most} bytes; raise --max-file-size if that is meant"
        )),
        Ok(_) => Ok(bytes),
    }
}

/// How people are told of a file.
pub(super) fn name(path: &Path) -> String {
    if path == Path::new("-") {
        "standard input".into()
    } else {
        path.display().to_string()
    }
}

fn problem(path: &Path, error: &std::io::Error) -> Unreadable {
    Unreadable {
        source: path.display().to_string(),
        reason: error.to_string(),
    }
}

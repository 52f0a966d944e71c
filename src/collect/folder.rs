//! A folder that appears when it is complete, and its files.

use std::fs::{self, DirBuilder, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::api;
use crate::resources::Resource;
use crate::samples::stored;

/// Where a list goes on in another file, in bytes: well below what a reader takes (64 MiB), and little enough that
/// reading one needs little memory.
const PART: u64 = 16 << 20;

/// A folder under a name of its own until it is complete. Left before that, it is removed.
#[derive(Debug)]
pub(crate) struct Folder {
    target: PathBuf,
    hidden: PathBuf,
    kept: bool,
}

impl Folder {
    /// Begins a folder. What is there already stays untouched: only an empty folder is taken.
    pub(crate) fn begin(target: &Path) -> Result<Self> {
        let shown = target.display();
        if target.is_dir() {
            let mut entries = fs::read_dir(target).with_context(|| format!("cannot look into {shown}"))?;
            if entries.next().is_some() {
                bail!(
                    "{shown} is not empty; name a folder that does not exist yet (-o DIR), or empty this one"
                );
            }
        } else if target.symlink_metadata().is_ok() {
            bail!("{shown} exists and is no folder; name one that does not exist yet (-o DIR)");
        }
        let Some(name) = target.file_name() else {
            bail!("{shown} names no folder; name one that does not exist yet (-o DIR)");
        };
        let mut hidden = std::ffi::OsString::from(".");
        hidden.push(name);
        hidden.push(format!(".partial-{}", std::process::id()));
        let hidden = target.with_file_name(hidden);
        let mut builder = DirBuilder::new();
        #[cfg(unix)]
        {
            use std::os::unix::fs::DirBuilderExt;
            // It names everything that runs: for its owner alone.
            builder.mode(0o700);
        }
        builder
            .create(&hidden)
            .with_context(|| format!("cannot make a folder beside {shown}"))?;
        Ok(Self {
            target: target.to_owned(),
            hidden,
            kept: false,
        })
    }

    /// Writes one file.
    pub(super) fn write(&self, name: &str, text: &str) -> Result<()> {
        fs::write(self.hidden.join(name), text).with_context(|| format!("cannot write {name}"))
    }

    /// Gives it its name.
    pub(super) fn finish(mut self) -> Result<()> {
        let shown = self.target.display();
        if self.target.is_dir() {
            // Some systems do not rename over a folder, not even an empty one. One that was filled meanwhile stays.
            fs::remove_dir(&self.target).with_context(|| format!("{shown} is not empty any more"))?;
        }
        fs::rename(&self.hidden, &self.target).with_context(|| format!("cannot name the folder {shown}"))?;
        self.kept = true;
        Ok(())
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if !self.kept {
            let _ = fs::remove_dir_all(&self.hidden);
        }
    }
}

/// The files of samples, each a whole list.
#[derive(Debug)]
pub(super) struct SampleFiles {
    /// The items of the file that is being filled.
    items: String,
    /// Files so far.
    files: u32,
    /// Pages so far.
    pub(super) pages: u64,
}

impl SampleFiles {
    pub(super) const fn new() -> Self {
        Self {
            items: String::new(),
            files: 0,
            pages: 0,
        }
    }

    /// Adds a page.
    pub(super) fn write(&mut self, folder: &Folder, page: &str) -> Result<()> {
        if !self.items.is_empty() && (self.items.len() + page.len()) as u64 > PART {
            self.close(folder)?;
        }
        self.items
            .push_str(if self.items.is_empty() { "\n" } else { ",\n" });
        self.items.push_str(page);
        self.pages += 1;
        Ok(())
    }

    /// Writes what is left.
    pub(super) fn close(&mut self, folder: &Folder) -> Result<()> {
        if self.items.is_empty() {
            return Ok(());
        }
        self.files += 1;
        let name = match self.files {
            1 => "samples.json".to_owned(),
            number => format!("samples-{number}.json"),
        };
        let (group, version, kind) = (api::GROUP, api::VERSION, stored::KIND);
        let items = std::mem::take(&mut self.items);
        let text = format!(
            "{{\"apiVersion\":\"{group}/{version}\",\"kind\":\"{kind}List\",\"metadata\":{{}},\"items\":[{items}\n]}}\n"
        );
        folder.write(&name, &text)
    }
}

/// The files of one kind, each a whole list.
#[derive(Debug)]
pub(super) struct Parts {
    folder: PathBuf,
    resource: &'static Resource,
    file: BufWriter<File>,
    /// Number of the file that is being written, from one.
    part: u32,
    /// Bytes in it.
    bytes: u64,
    /// Objects in all of them.
    objects: u64,
    first: bool,
}

fn path(folder: &Path, resource: &Resource, part: u32) -> PathBuf {
    let plural = resource.plural();
    folder.join(if part == 1 {
        format!("{plural}.json")
    } else {
        format!("{plural}-{part}.json")
    })
}

fn open(folder: &Path, resource: &Resource, part: u32) -> Result<BufWriter<File>> {
    let path = path(folder, resource, part);
    let file = File::create(&path).with_context(|| format!("cannot write {}", path.display()))?;
    let mut file = BufWriter::new(file);
    let (version, name) = (resource.version(), resource.kind.name);
    write!(
        file,
        "{{\"apiVersion\":\"{version}\",\"kind\":\"{name}List\",\"metadata\":{{}},\"items\":["
    )?;
    Ok(file)
}

impl Parts {
    /// Begins the list of a kind; what was written of it before is gone.
    pub(super) fn begin(folder: &Folder, resource: &'static Resource) -> Result<Self> {
        let folder = folder.hidden.clone();
        let mut old = 1;
        while fs::remove_file(path(&folder, resource, old)).is_ok() {
            old += 1;
        }
        let file = open(&folder, resource, 1)?;
        Ok(Self {
            folder,
            resource,
            file,
            part: 1,
            bytes: 0,
            objects: 0,
            first: true,
        })
    }

    /// Adds an object.
    pub(super) fn write(&mut self, object: &Value) -> Result<()> {
        let text = object.to_string();
        if self.bytes > 0 && self.bytes + text.len() as u64 > PART {
            self.close()?;
            self.part += 1;
            self.file = open(&self.folder, self.resource, self.part)?;
            (self.bytes, self.first) = (0, true);
        }
        let comma = if self.first { "\n" } else { ",\n" };
        self.first = false;
        self.bytes += text.len() as u64;
        self.objects += 1;
        write!(self.file, "{comma}{text}").with_context(|| format!("cannot write {}", self.resource.plural()))
    }

    fn close(&mut self) -> Result<()> {
        self.file
            .write_all(b"\n]}\n")
            .and_then(|()| self.file.flush())
            .with_context(|| format!("cannot write {}", self.resource.plural()))
    }

    /// Ends the list and returns how many objects it holds. Where the kind was refused and there are none, there is no
    /// file: an empty list would say that there are none in the cluster.
    pub(super) fn finish(mut self, refused: bool) -> Result<u64> {
        self.close()?;
        if refused && self.objects == 0 {
            fs::remove_file(path(&self.folder, self.resource, 1))
                .with_context(|| format!("cannot remove {}", self.resource.plural()))?;
        }
        Ok(self.objects)
    }
}

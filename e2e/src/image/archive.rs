//! Tar archives whose bytes depend on nothing but what is put in.

use anyhow::{Context, Result};
use tar::{Builder, EntryType, Header};

/// An archive in memory; images of one program are small.
pub(super) struct Archive {
    tar: Builder<Vec<u8>>,
    /// Seconds since 1970, of every entry.
    time: u64,
}

impl Archive {
    pub(super) fn new(time: u64) -> Self {
        Self {
            tar: Builder::new(Vec::new()),
            time,
        }
    }

    /// A file that everybody may read.
    pub(super) fn file(&mut self, path: &str, bytes: &[u8]) -> Result<()> {
        self.entry(path, bytes, 0o644)
    }

    /// A file that everybody may run.
    pub(super) fn program(&mut self, path: &str, bytes: &[u8]) -> Result<()> {
        self.entry(path, bytes, 0o755)
    }

    fn entry(&mut self, path: &str, bytes: &[u8], mode: u32) -> Result<()> {
        let mut header = Header::new_ustar();
        header.set_entry_type(EntryType::Regular);
        header.set_size(bytes.len() as u64);
        header.set_mode(mode);
        header.set_mtime(self.time);
        header.set_uid(0);
        header.set_gid(0);
        self.tar
            .append_data(&mut header, path, bytes)
            .with_context(|| format!("adding {path} to an archive"))
    }

    pub(super) fn finish(self) -> Result<Vec<u8>> {
        self.tar.into_inner().context("ending an archive")
    }
}

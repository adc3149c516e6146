//! The texts of this repository that people read: Markdown, and Rust with its comments.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

/// A file with its text.
pub(super) struct TextFile {
    /// Within the repository.
    pub(super) path: PathBuf,
    pub(super) text: String,
}

impl TextFile {
    pub(super) fn has_extension(&self, extension: &str) -> bool {
        self.path
            .extension()
            .is_some_and(|known| known == extension)
    }
}

/// All Markdown and Rust files below a folder, without hidden folders, and without those that tools fill.
///
/// # Errors
///
/// When a file or folder cannot be read.
pub(super) fn read(top: &Path) -> Result<Vec<TextFile>> {
    let mut files = Vec::new();
    collect(top, top, &mut files)?;
    files.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(files)
}

fn collect(top: &Path, folder: &Path, files: &mut Vec<TextFile>) -> Result<()> {
    for entry in fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if path.is_dir() {
            let is_filled_by_tools = matches!(&*name, "target" | "node_modules" | "venv");
            if !is_filled_by_tools && !name.starts_with('.') {
                collect(top, &path, files)?;
            }
        } else if name.ends_with(".rs") || name.ends_with(".md") {
            let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
            let within = path.strip_prefix(top).unwrap_or(&path).to_owned();
            files.push(TextFile { path: within, text });
        }
    }
    Ok(())
}

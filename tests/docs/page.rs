//! A page as its parts: blocks of code, links, headings.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// Where the project is.
pub fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// A page of the documentation.
pub struct Page {
    pub path: PathBuf,
    /// Its path from the project's root, for messages.
    pub name: String,
    text: String,
    pub blocks: Vec<Block>,
}

/// A block of code.
pub struct Block {
    /// What stands behind its fence: `console`, `yaml config`, …
    pub kind: String,
    /// The line after its fence, from 1.
    pub line: usize,
    pub text: String,
}

impl Page {
    /// All pages, in order of their names.
    pub fn all() -> Vec<Self> {
        let is_page = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "md");
        let pages_in = |folder: PathBuf| fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        let mut paths: Vec<_> =
            pages_in(root()).chain(pages_in(root().join("docs"))).filter(is_page).collect();
        paths.sort();
        assert!(paths.len() > 5, "only {} pages were found", paths.len());
        paths.iter().map(|path| Self::read(path)).collect()
    }

    /// Reads one.
    pub fn read(path: &Path) -> Self {
        let text = fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let name = path.strip_prefix(root()).unwrap_or(path).display().to_string();
        Self { path: path.to_owned(), name, blocks: blocks(&text), text }
    }

    pub fn folder(&self) -> &Path {
        self.path.parent().unwrap()
    }

    /// The links to other files of the project and to headings, with their lines.
    pub fn links(&self) -> Vec<(usize, String)> {
        let mut links = Vec::new();
        for (line, text) in self.prose() {
            for part in text.split("](").skip(1) {
                let target = part.split(')').next().unwrap_or_default();
                if !target.contains("://") {
                    links.push((line, target.to_owned()));
                }
            }
        }
        links
    }

    /// What stands between backticks outside of blocks, with its line.
    pub fn code_spans(&self) -> Vec<(usize, String)> {
        let spans = |(line, text): (usize, &str)| {
            text.split('`').skip(1).step_by(2).map(|span| (line, span.to_owned())).collect::<Vec<_>>()
        };
        self.prose().into_iter().flat_map(spans).collect()
    }

    /// The headings, as GitLab and GitHub make anchors of them.
    pub fn anchors(&self) -> Vec<String> {
        let headings = self.prose().into_iter().filter_map(|(_, line)| line.strip_prefix('#'));
        let anchor = |heading: &str| {
            let kept = heading.trim_start_matches('#').trim().to_lowercase();
            let kept: String = kept.chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c)).collect();
            kept.replace(' ', "-")
        };
        headings.map(anchor).collect()
    }

    /// The lines outside of blocks.
    pub fn prose(&self) -> Vec<(usize, &str)> {
        let mut inside = false;
        let numbered = self.text.lines().enumerate().map(|(index, line)| (index + 1, line));
        numbered
            .filter(|(_, line)| {
                let is_fence = line.starts_with("```");
                inside ^= is_fence;
                !inside && !is_fence
            })
            .collect()
    }
}

fn blocks(text: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut open: Option<Block> = None;
    for (index, line) in text.lines().enumerate() {
        match (line.strip_prefix("```"), open.take()) {
            (Some(kind), None) => {
                open = Some(Block { kind: kind.trim().to_owned(), line: index + 2, text: String::new() });
            }
            (Some(_), Some(block)) => blocks.push(block),
            (None, Some(mut block)) => {
                block.text += line;
                block.text.push('\n');
                open = Some(block);
            }
            (None, None) => {}
        }
    }
    assert!(open.is_none(), "a block of code is never closed");
    blocks
}

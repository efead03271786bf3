//! The commands of a page and what they are to print.
//!
//! In a block that is fenced as `console`, a line that begins with `$ ` is a command, and the lines up to the next one
//! are what it prints. `…` stands for any text of a line; a line that is `…` alone, for any lines. A command has to
//! succeed: one that is to fail shows its code by `; echo "exit code $?"`. All commands of a page run one after the
//! other in one shell, in an empty home. A block `yaml config` is the host's configuration from there on.

use super::{
    page::{Block, Page},
    session::{Ran, Session},
};

/// A command of a page.
struct Command<'a> {
    line: usize,
    text: &'a str,
    expected: Vec<&'a str>,
}

/// Runs what `page` shows; the result is what went wrong, an entry each.
pub fn check(page: &Page) -> Vec<String> {
    let mut session = Session::new();
    let mut commands = Vec::new();
    for block in &page.blocks {
        match block.kind.as_str() {
            "console" => {
                for command in parse(page, block) {
                    session.run(command.text);
                    commands.push(command);
                }
            }
            "yaml config" => session.configure(&block.text),
            _ => {}
        }
    }
    if commands.is_empty() {
        return Vec::new();
    }
    let ran = session.finish();
    assert_eq!(ran.len(), commands.len(), "{}: the shell ended too early", page.name);
    commands.iter().zip(&ran).filter_map(|(command, ran)| wrong(page, command, ran)).collect()
}

fn parse<'a>(page: &Page, block: &'a Block) -> Vec<Command<'a>> {
    let mut commands: Vec<Command<'a>> = Vec::new();
    for (index, line) in block.text.lines().enumerate() {
        match (line.strip_prefix("$ "), commands.last_mut()) {
            (Some(text), _) => {
                commands.push(Command { line: block.line + index, text, expected: Vec::new() })
            }
            (None, Some(command)) => command.expected.push(line),
            (None, None) => panic!("{}:{}: a console block begins with `$ `", page.name, block.line),
        }
    }
    commands
}

fn wrong(page: &Page, command: &Command<'_>, ran: &Ran) -> Option<String> {
    let printed: Vec<&str> = ran.output.lines().collect();
    if ran.code == 0 && matches_lines(&command.expected, &printed) {
        return None;
    }
    Some(format!(
        "{}:{}: $ {}\n  the page says:\n{}  it ended with {} and printed:\n{}",
        page.name,
        command.line,
        command.text,
        indented(&command.expected),
        ran.code,
        indented(&printed)
    ))
}

fn indented(lines: &[&str]) -> String {
    lines.iter().map(|line| format!("    {line}\n")).collect()
}

fn matches_lines(expected: &[&str], printed: &[&str]) -> bool {
    match expected.split_first() {
        None => printed.is_empty(),
        Some((&"…", rest)) => (0..=printed.len()).any(|skipped| matches_lines(rest, &printed[skipped..])),
        Some((line, rest)) => printed
            .split_first()
            .is_some_and(|(first, others)| matches_line(line, first) && matches_lines(rest, others)),
    }
}

fn matches_line(expected: &str, printed: &str) -> bool {
    match expected.split_once('…') {
        None => expected == printed,
        Some((before, rest)) => printed.strip_prefix(before).is_some_and(|after| {
            after
                .char_indices()
                .map(|(at, _)| at)
                .chain([after.len()])
                .any(|at| matches_line(rest, &after[at..]))
        }),
    }
}

#[test]
fn dots_stand_for_any_text_and_nothing_else_does() {
    assert!(matches_line("a … (fence …)", "a 5 ms (fence 17)"));
    assert!(matches_line("a…", "a"));
    assert!(!matches_line("a … b", "a 5 ms"));
    assert!(!matches_line("a", "a "));
    assert!(matches_lines(&["…", "b"], &["x", "y", "b"]));
    assert!(!matches_lines(&["b"], &["b", "c"]));
    assert!(!matches_lines(&["b", "c"], &["b"]));
}

//! A terminal that shows one picture after the other, and is given back as it was.

use std::{
    io::{self, IsTerminal, Read, Write},
    thread,
};

use rustix::termios::{
    LocalModes, OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcgetwinsize, tcsetattr,
};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

/// The other screen of the terminal, without a cursor; and back.
const ENTER: &str = "\x1b[?1049h\x1b[?25l";
const LEAVE: &str = "\x1b[?25h\x1b[?1049l";

/// To the first line; and from a line's end to its old end, and from there to the old last line.
const HOME: &str = "\x1b[H";
const CLEAR_LINE: &str = "\x1b[K";
const CLEAR_BELOW: &str = "\x1b[J";

/// The size where the terminal does not tell one.
const USUAL: (usize, usize) = (80, 24);

/// A terminal in use. Dropped, it is as before.
pub struct Screen {
    before: Option<Termios>,
}

impl Screen {
    /// Takes the terminal: keys come one by one and are not shown, and no key stops this process halfway.
    pub fn enter() -> Self {
        let before = io::stdin().is_terminal().then(|| tcgetattr(io::stdin()).ok()).flatten();
        if let Some(before) = &before {
            let mut keys = before.clone();
            keys.local_modes -= LocalModes::ICANON | LocalModes::ECHO;
            keys.special_codes[SpecialCodeIndex::VSUSP] = 0;
            let _ = tcsetattr(io::stdin(), OptionalActions::Now, &keys);
        }
        write(ENTER);
        Self { before }
    }

    /// Shows these lines, as much of them as fits.
    pub fn show(&self, lines: &[String]) {
        let (width, height) = size();
        let mut picture = String::from(HOME);
        let shown: Vec<String> = lines.iter().take(height).map(|line| fitted(line, width)).collect();
        picture += &shown.join(&format!("{CLEAR_LINE}\r\n"));
        picture += CLEAR_LINE;
        if shown.len() < height {
            picture += CLEAR_BELOW;
        }
        write(&picture);
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        write(LEAVE);
        if let Some(before) = &self.before {
            let _ = tcsetattr(io::stdin(), OptionalActions::Now, before);
        }
    }
}

/// The keys that are pressed; none if standard input is no terminal.
pub fn keys() -> UnboundedReceiver<u8> {
    let (pressed, keys) = unbounded_channel();
    if io::stdin().is_terminal() {
        // It ends with the process: a read of a terminal is not to be broken off.
        thread::spawn(move || {
            let mut key = [0];
            while let Ok(1) = io::stdin().read(&mut key) {
                if pressed.send(key[0]).is_err() {
                    return;
                }
            }
        });
    }
    keys
}

fn size() -> (usize, usize) {
    match tcgetwinsize(io::stdout()) {
        Ok(size) if size.ws_col > 0 && size.ws_row > 0 => (size.ws_col.into(), size.ws_row.into()),
        _ => USUAL,
    }
}

/// A line of at most `width` characters: one that is cut off ends in `…`.
fn fitted(line: &str, width: usize) -> String {
    if line.chars().count() <= width {
        return line.to_owned();
    }
    line.chars().take(width.saturating_sub(1)).chain(['…']).collect()
}

fn write(text: &str) {
    let mut out = io::stdout();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_cut_to_the_width() {
        assert_eq!(fitted("größe", 5), "größe");
        assert_eq!(fitted("größen", 5), "größ…");
    }
}

//! Tables for people: columns that line up.

/// The space between two columns.
const GAP: usize = 2;

/// The lines of a table: `header`, then `rows`, each column as wide as its widest cell (the last one is not
/// padded).
pub fn table<const N: usize>(header: [&str; N], rows: &[[String; N]]) -> Vec<String> {
    let width = |column: usize| {
        let cells = rows.iter().map(|row| row[column].chars().count());
        cells.chain([header[column].chars().count()]).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..N).map(width).collect();
    let line = |cells: Vec<&str>| {
        let mut text = String::new();
        for (cell, width) in cells.into_iter().zip(&widths) {
            text += cell;
            text.extend(std::iter::repeat_n(' ', width + GAP - cell.chars().count()));
        }
        text.trim_end().to_owned()
    };
    let body = rows.iter().map(|row| line(row.iter().map(String::as_str).collect()));
    std::iter::once(line(header.to_vec())).chain(body).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_by_characters() {
        let rows = [["größe".into(), "1".into()], ["a".into(), "22".into()]];
        assert_eq!(table(["NAME", "N"], &rows), ["NAME   N", "größe  1", "a      22"]);
    }
}

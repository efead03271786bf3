//! The table, printed always, past the test's own capture of its output.

use std::{
    fmt::Write as _,
    io::{self, Write as _},
    time::Duration,
};

use crate::{
    cell::{LeftOut, Moment},
    fate::{Fate, Promise},
    play::{Played, limit},
};

pub fn print(played: &[Played], left_out: &LeftOut, took: Duration) {
    let mut text = String::from("\n");
    let _ = writeln!(
        text,
        "{:<22}{:<20}{:<11}{:<7}{:<9}{:>8}  {:<22}{:<9}stages",
        "moment", "who", "fault", "store", "the job", "next", "promised", "verdict"
    );
    for one in played {
        let _ = writeln!(text, "{}", line(one));
    }
    let cells: usize = played.len() + left_out.iter().map(|(_, count)| count).sum::<usize>();
    let _ = writeln!(
        text,
        "\n{} of {cells} cells in {took:.0?}. `next`: when the next job had the lock, from the end of the job's \
         last process (or the fault, or the time at which its script was let go on). Left out:",
        played.len()
    );
    for (why, count) in left_out {
        let _ = writeln!(text, "{count:>5}  {why}");
    }
    let bad: Vec<&Played> = played.iter().filter(|one| one.verdict.is_err()).collect();
    for one in &bad {
        let _ = writeln!(text, "BAD: {}\n     {}", line(one), one.verdict.as_ref().expect_err("it is bad"));
    }
    let _ = writeln!(text, "{} bad, the slowest: {:.2?}", bad.len(), slowest(played));
    let _ = io::stdout().lock().write_all(text.as_bytes());
}

fn line(one: &Played) -> String {
    let cell = one.cell;
    let took = one.took.map_or_else(|| "-".into(), |took| format!("{:.2} s", took.as_secs_f64()));
    let limit = limit(cell).as_secs_f64();
    let promised = match cell.promise() {
        _ if cell.moment == Moment::Released => "had it before".into(),
        Promise::AfterTheEnd(_) => format!("{limit} s after the end"),
        Promise::AfterTheFault(_) => format!("{limit} s after the fault"),
    };
    let fate = match cell.fate() {
        Fate::GoesOn => "goes on",
        Fate::Ends => "ends",
        Fate::Either => "either",
    };
    let verdict = if one.verdict.is_ok() { "ok" } else { "BAD" };
    format!(
        "{:<22}{:<20}{:<11}{:<7}{fate:<9}{took:>8}  {promised:<22}{verdict:<9}{}",
        cell.moment,
        cell.names(),
        cell.fault,
        cell.place,
        one.stages.join(", ")
    )
}

fn slowest(played: &[Played]) -> Duration {
    let after_the_end = |one: &&Played| matches!(one.cell.promise(), Promise::AfterTheEnd(_));
    played.iter().filter(after_the_end).filter_map(|one| one.took).max().unwrap_or_default()
}

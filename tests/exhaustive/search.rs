//! Every state that can be reached, and whether each of them leads to a good end.

use std::collections::{HashMap, VecDeque};

use crate::{
    covered::Covered,
    key,
    model::{Phase, State, World},
    promises, steps,
};

/// What was found.
pub struct Found {
    pub states: usize,
    pub steps: usize,
    pub covered: Covered,
}

/// How a state was first reached.
struct Way {
    from: u32,
    step: String,
}

/// Goes through all states of `world`.
pub fn all(world: &World) -> Result<Found, String> {
    let mut search = Search::default();
    let first = State::new(world);
    search.id_of(&first, 0, "begin");
    let mut open = VecDeque::from([(0_u32, first)]);
    let (mut count, mut covered) = (0, Covered::default());
    while let Some((id, state)) = open.pop_front() {
        search.ends[id as usize] = is_an_end(&state);
        let nexts = promises::of_a_state(world, &state).and_then(|()| steps::all(world, &state));
        for next in nexts.map_err(|broken| search.told(id, &broken))? {
            count += 1;
            covered.count(&state, &next.state);
            let (other, is_new) = search.id_of(&next.state, id, &next.step);
            if next.is_good {
                search.back[other as usize].push(id);
            }
            if is_new {
                open.push_back((other, next.state));
            }
        }
    }
    search.everything_ends()?;
    Ok(Found { states: search.ways.len(), steps: count, covered })
}

/// Whoever lives has got what it wanted.
fn is_an_end(state: &State) -> bool {
    state.clients.iter().all(|it| matches!(it.phase, Phase::Over | Phase::Dead))
}

#[derive(Default)]
struct Search {
    ids: HashMap<u128, u32>,
    ways: Vec<Way>,
    ends: Vec<bool>,
    /// From where one gets to a state without anything going wrong.
    back: Vec<Vec<u32>>,
}

impl Search {
    fn id_of(&mut self, state: &State, from: u32, step: &str) -> (u32, bool) {
        let next = u32::try_from(self.ways.len()).expect("fewer states than that");
        let id = *self.ids.entry(key::of(state)).or_insert(next);
        if id == next {
            self.ways.push(Way { from, step: step.to_owned() });
            self.ends.push(false);
            self.back.push(Vec::new());
        }
        (id, id == next)
    }

    /// From each state on, if nothing more goes wrong, all who live can come to their end.
    fn everything_ends(&self) -> Result<(), String> {
        let mut reached = self.ends.clone();
        let mut open: Vec<u32> =
            (0..).zip(&self.ends).filter(|(_, is_end)| **is_end).map(|(id, _)| id).collect();
        while let Some(id) = open.pop() {
            for from in &self.back[id as usize] {
                if !std::mem::replace(&mut reached[*from as usize], true) {
                    open.push(*from);
                }
            }
        }
        match reached.iter().position(|reached| !reached) {
            Some(id) => Err(self.told(u32::try_from(id).unwrap_or(0), "it is stuck")),
            None => Ok(()),
        }
    }

    /// What is broken, and the shortest way there.
    fn told(&self, mut id: u32, broken: &str) -> String {
        let mut steps = vec![broken.to_owned()];
        while id != 0 {
            let way = &self.ways[id as usize];
            steps.push(way.step.clone());
            id = way.from;
        }
        steps.reverse();
        steps.join("\n  ")
    }
}

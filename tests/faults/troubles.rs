//! Every fault by its name, with what is said of it.

use std::time::Duration;

use crate::harness::{Fault, Kind, Proxy, within};

/// A fault, and what follows from it.
#[derive(Clone)]
pub struct Trouble {
    pub name: &'static str,
    begin: Begin,
    /// What a message about it has in it.
    pub cause: &'static str,
    /// What such a message says to do, if anything can be done.
    pub remedy: &'static str,
    /// Whether it is refused for good: who has no place in a queue yet is told at once.
    pub is_refusal: bool,
}

#[derive(Clone)]
enum Begin {
    /// For some kinds of requests.
    Faults(Vec<Fault>),
    /// The whole host is cut off.
    Host(fn(&Proxy)),
}

/// In time for a reply.
const CLOSE: Duration = Duration::from_millis(500);
/// Later than anybody waits for a reply, and before everybody has come and gone: what comes to a free lock then is a
/// hold of nobody that lives (docs/promises.md).
const FAR: Duration = Duration::from_millis(3_200);
const BYTE: Duration = Duration::from_millis(30);

impl Trouble {
    fn of(name: &'static str, fault: Fault, cause: &'static str) -> Self {
        Self { name, begin: Begin::Faults(vec![fault]), cause, remedy: "", is_refusal: false }
    }

    fn host(name: &'static str, cut: fn(&Proxy), cause: &'static str) -> Self {
        Self { name, begin: Begin::Host(cut), cause, remedy: "", is_refusal: false }
    }

    fn with_remedy(mut self, remedy: &'static str) -> Self {
        self.remedy = remedy;
        self
    }

    /// All of them.
    pub fn all() -> Vec<Self> {
        let garbage: Vec<Fault> = Fault::garbage().into_iter().map(|(_, fault)| fault).collect();
        let effective = garbage.iter().map(|fault| fault.clone().after_effect()).collect();
        let expired = Self::of("expired credentials", Fault::expired(), "expired").with_remedy("Renew them");
        vec![
            Self::of("a lost request", Fault::lost_request(), "broke"),
            Self::of("a lost reply", Fault::lost_reply(), "broke"),
            Self::of("a late request", Fault::late_request(CLOSE), ""),
            Self::of("a request that comes too late", Fault::late_request(FAR), "no reply to"),
            Self::of("a late reply", Fault::late_reply(CLOSE), ""),
            Self::of("a reply that comes too late", Fault::late_reply(FAR), "no reply to"),
            Self::of("slow bytes", Fault::slow_bytes(BYTE), "no reply to"),
            Self::of("a half-open connection", Fault::half_open(), "no reply to"),
            Self::of("a connection that falls silent", Fault::silent_reply(), "no reply to"),
            Self::of("a truncated reply", Fault::cut_short(), "broke"),
            Self::of("a reply without an end", Fault::endless(), "longer than"),
            Self::of("a server error", Fault::server_error(), "problem of its own"),
            Self::of(
                "a server error after the effect",
                Fault::server_error().after_effect(),
                "problem of its own",
            ),
            Self::of("throttling", Fault::throttled(), "throttles").with_remedy("on demand"),
            Self::of("a page", Fault::page(), "HTTP 200").with_remedy("endpoint_url"),
            Self::of("no HTTP", Fault::no_http(), "broke"),
            Self { begin: Begin::Faults(garbage), ..Self::of("garbage", Fault::page(), "HTTP 200") }
                .with_remedy("endpoint_url"),
            Self {
                begin: Begin::Faults(effective),
                ..Self::of("garbage after the effect", Fault::page(), "HTTP 200")
            }
            .with_remedy("endpoint_url"),
            Self { is_refusal: true, ..expired },
            Self::host("a host that is cut off", Proxy::cut, "127.0.0.1"),
            Self::host("a silent network", Proxy::silence, "127.0.0.1"),
        ]
    }

    /// Whether requests are answered all the same, in time.
    pub fn is_harmless(&self) -> bool {
        self.cause.is_empty()
    }

    /// From now on it meets all requests of these kinds; all there are, if none is named.
    pub fn begin(&self, proxy: &Proxy, kinds: &[Kind]) {
        match &self.begin {
            Begin::Faults(faults) => proxy.faults(kinds, faults.clone()),
            Begin::Host(cut) => cut(proxy),
        }
    }

    /// Meets at least one request of these kinds while `meanwhile` is done, and ends.
    #[track_caller]
    pub fn strike(&self, proxy: &Proxy, kinds: &[Kind], meanwhile: impl FnOnce()) {
        let before = proxy.hits();
        self.begin(proxy, kinds);
        meanwhile();
        within(Duration::from_secs(20), "a request that the fault meets", || proxy.hits() > before);
        proxy.mend();
    }
}

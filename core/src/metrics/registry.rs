//! Counters, gauges and histograms that shards write without disturbing each other.
//!
//! Every metric is some cells of an array, and every shard has an array of its own, so that
//! counting is an addition to a cache line that no other thread writes. Only a scrape reads all
//! arrays and adds them up. Families, labels and cells are fixed before the first shard starts:
//! nothing that a peer sends can make a new series.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::text::Text;

/// A count that only grows.
#[derive(Clone, Copy, Debug)]
pub struct Counter(u32);

/// A number that goes up and down; the shards' numbers are added up.
#[derive(Clone, Copy, Debug)]
pub struct Gauge(u32);

/// How values are distributed.
#[derive(Clone, Copy, Debug)]
pub struct Histogram {
    first: u32,
    buckets: &'static Buckets,
}

/// Counters with `N` labels.
#[derive(Clone, Copy, Debug)]
pub struct Counters<const N: usize> {
    series: Series<N>,
}

/// Gauges with `N` labels.
#[derive(Clone, Copy, Debug)]
pub struct Gauges<const N: usize> {
    series: Series<N>,
}

/// Histograms with `N` labels.
#[derive(Clone, Copy, Debug)]
pub struct Histograms<const N: usize> {
    series: Series<N>,
    buckets: &'static Buckets,
}

/// Upper bounds of a histogram's buckets, in the unit that is observed.
#[derive(Debug)]
pub struct Buckets {
    /// The bounds, growing.
    pub bounds: &'static [u64],
    /// How many observed units are one unit of the metric: 10^9 for seconds.
    pub unit: u64,
}

impl Buckets {
    fn cells(&self) -> u32 {
        // One for each bound, one for what is above, one for the sum.
        u32::try_from(self.bounds.len() + 2).unwrap_or(u32::MAX)
    }
}

/// Durations in nanoseconds, shown in seconds: 50 µs to 60 s.
pub static SECONDS: Buckets = Buckets {
    bounds: &[
        50_000,
        100_000,
        250_000,
        500_000,
        1_000_000,
        2_500_000,
        5_000_000,
        10_000_000,
        25_000_000,
        50_000_000,
        100_000_000,
        250_000_000,
        500_000_000,
        1_000_000_000,
        2_500_000_000,
        5_000_000_000,
        10_000_000_000,
        30_000_000_000,
        60_000_000_000,
    ],
    unit: 1_000_000_000,
};

/// Octets: 256 to 128 MiB.
pub static OCTETS: Buckets = Buckets {
    bounds: &[
        256,
        1 << 10,
        4 << 10,
        16 << 10,
        64 << 10,
        256 << 10,
        1 << 20,
        4 << 20,
        16 << 20,
        64 << 20,
        128 << 20,
    ],
    unit: 1,
};

/// Small numbers: 1 to 1024.
pub static NUMBERS: Buckets = Buckets { bounds: &[1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024], unit: 1 };

/// Where the cells of a family's series are: row by row, the last label fastest.
#[derive(Clone, Copy, Debug)]
struct Series<const N: usize> {
    first: u32,
    cells: u32,
    values: [u32; N],
}

impl<const N: usize> Series<N> {
    /// The first cell of the series with these labels, each the index of its value.
    fn at(&self, labels: [usize; N]) -> u32 {
        let mut index = 0;
        for (label, values) in labels.into_iter().zip(self.values) {
            assert!(label < values as usize, "label value {label} of {values}");
            index = index * values as usize + label;
        }
        // `register` has counted all cells in a u32.
        self.first + u32::try_from(index).unwrap_or(0) * self.cells
    }
}

impl<const N: usize> Counters<N> {
    /// The counter with these labels, each the index of its value. Panics when there is no such
    /// value: indices come from enums.
    pub fn at(&self, labels: [usize; N]) -> Counter {
        Counter(self.series.at(labels))
    }
}

impl<const N: usize> Gauges<N> {
    /// The gauge with these labels; see [`Counters::at`].
    pub fn at(&self, labels: [usize; N]) -> Gauge {
        Gauge(self.series.at(labels))
    }
}

impl<const N: usize> Histograms<N> {
    /// The histogram with these labels; see [`Counters::at`].
    pub fn at(&self, labels: [usize; N]) -> Histogram {
        Histogram { first: self.series.at(labels), buckets: self.buckets }
    }
}

/// A label: its name, and every value that it can have.
#[derive(Clone, Debug)]
pub struct Label {
    name: &'static str,
    values: Vec<String>,
}

impl Label {
    /// A label with these values.
    pub fn new<V: Into<String>>(name: &'static str, values: impl IntoIterator<Item = V>) -> Self {
        Self { name, values: values.into_iter().map(Into::into).collect() }
    }
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    Counter,
    Gauge,
    Histogram(&'static Buckets),
}

struct Family {
    name: &'static str,
    help: &'static str,
    kind: Kind,
    labels: Vec<Label>,
    first: u32,
}

/// Collects the families before the first shard starts.
#[derive(Default)]
pub struct Builder {
    families: Vec<Family>,
    cells: u32,
}

impl Builder {
    /// A builder without families.
    pub fn new() -> Self {
        Self::default()
    }

    /// Registers a counter; its name ends in `_total`.
    pub fn counter(&mut self, name: &'static str, help: &'static str) -> Counter {
        self.counters(name, help, []).at([])
    }

    /// Registers counters with labels.
    pub fn counters<const N: usize>(
        &mut self,
        name: &'static str,
        help: &'static str,
        labels: [Label; N],
    ) -> Counters<N> {
        assert!(name.ends_with("_total"), "the name of counter {name} ends in _total");
        Counters { series: self.register(name, help, Kind::Counter, labels, 1) }
    }

    /// Registers a gauge.
    pub fn gauge(&mut self, name: &'static str, help: &'static str) -> Gauge {
        self.gauges(name, help, []).at([])
    }

    /// Registers gauges with labels.
    pub fn gauges<const N: usize>(
        &mut self,
        name: &'static str,
        help: &'static str,
        labels: [Label; N],
    ) -> Gauges<N> {
        Gauges { series: self.register(name, help, Kind::Gauge, labels, 1) }
    }

    /// Registers a histogram.
    pub fn histogram(
        &mut self,
        name: &'static str,
        help: &'static str,
        buckets: &'static Buckets,
    ) -> Histogram {
        self.histograms(name, help, buckets, []).at([])
    }

    /// Registers histograms with labels.
    pub fn histograms<const N: usize>(
        &mut self,
        name: &'static str,
        help: &'static str,
        buckets: &'static Buckets,
        labels: [Label; N],
    ) -> Histograms<N> {
        assert!(buckets.bounds.is_sorted(), "the bounds of {name} grow");
        Histograms {
            series: self.register(name, help, Kind::Histogram(buckets), labels, buckets.cells()),
            buckets,
        }
    }

    fn register<const N: usize>(
        &mut self,
        name: &'static str,
        help: &'static str,
        kind: Kind,
        labels: [Label; N],
        cells: u32,
    ) -> Series<N> {
        let valid =
            |name: &str| !name.is_empty() && name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
        assert!(valid(name) && name.starts_with("postrider_"), "the name of metric {name}");
        assert!(self.families.iter().all(|family| family.name != name), "metric {name} is registered twice");
        assert!(labels.iter().all(|label| valid(label.name) && !label.values.is_empty()), "labels of {name}");
        let values =
            std::array::from_fn(|index| u32::try_from(labels[index].values.len()).unwrap_or(u32::MAX));
        let first = self.cells;
        let total = values.iter().try_fold(cells, |total, values| total.checked_mul(*values));
        let end = total.and_then(|total| first.checked_add(total));
        assert!(end.is_some(), "metric {name} has too many series");
        self.cells = end.unwrap_or(first);
        self.families.push(Family { name, help, kind, labels: labels.into(), first });
        Series { first, cells, values }
    }

    /// Makes the cells: one array for each of `writers` threads (shards, and those beside them).
    pub fn build(self, writers: usize) -> Arc<Registry> {
        let array = || (0..self.cells).map(|_| AtomicU64::new(0)).collect();
        let slots = (0..writers.max(1)).map(|_| Slot { cells: array() }).collect();
        Arc::new(Registry { families: self.families, slots })
    }
}

/// The cells of one thread. Aligned so that two threads' headers don't share a cache line; the
/// cells are an allocation of their own.
#[repr(align(128))]
struct Slot {
    cells: Box<[AtomicU64]>,
}

/// All metrics of the process.
pub struct Registry {
    families: Vec<Family>,
    slots: Vec<Slot>,
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registry")
            .field("families", &self.families.len())
            .field("slots", &self.slots.len())
            .finish()
    }
}

impl Registry {
    /// What the thread with this number counts with. More threads than slots share the last one.
    pub fn recorder(self: &Arc<Self>, writer: usize) -> Recorder {
        Recorder { slot: writer.min(self.slots.len() - 1), registry: Arc::clone(self) }
    }

    /// The value of a counter, over all threads.
    pub fn counter(&self, counter: Counter) -> u64 {
        self.sum(counter.0)
    }

    /// The value of a gauge, over all threads.
    pub fn gauge(&self, gauge: Gauge) -> i64 {
        self.sum(gauge.0).cast_signed()
    }

    /// How many values a histogram has seen, and their sum in the unit observed.
    pub fn histogram(&self, histogram: Histogram) -> (u64, u64) {
        let sum = histogram.first + histogram.buckets.cells() - 1;
        ((histogram.first..sum).map(|cell| self.sum(cell)).sum(), self.sum(sum))
    }

    fn sum(&self, cell: u32) -> u64 {
        let values = self.slots.iter().map(|slot| slot.cells[cell as usize].load(Ordering::Relaxed));
        values.fold(0, u64::wrapping_add)
    }

    /// Writes every family in Prometheus' text format.
    pub fn write(&self, text: &mut Text) {
        for family in &self.families {
            let kind = match family.kind {
                Kind::Counter => "counter",
                Kind::Gauge => "gauge",
                Kind::Histogram(_) => "histogram",
            };
            text.family(family.name, family.help, kind);
            let mut cell = family.first;
            let mut indices = vec![0; family.labels.len()];
            loop {
                let labels: Vec<(&str, &str)> = family
                    .labels
                    .iter()
                    .zip(&indices)
                    .map(|(label, &i)| (label.name, &*label.values[i]))
                    .collect();
                cell = self.write_series(text, family, &labels, cell);
                if !advance(&mut indices, &family.labels) {
                    break;
                }
            }
        }
    }

    fn write_series(&self, text: &mut Text, family: &Family, labels: &[(&str, &str)], cell: u32) -> u32 {
        match family.kind {
            Kind::Counter => text.sample(family.name, "", labels, self.sum(cell)),
            Kind::Gauge => text.sample(family.name, "", labels, self.sum(cell).cast_signed()),
            Kind::Histogram(buckets) => {
                let mut count = 0;
                let bounds = buckets.bounds.iter().map(Some).chain([None]);
                for (bound, cell) in bounds.zip(cell..) {
                    count += self.sum(cell);
                    let bound = bound.map_or("+Inf".to_owned(), |bound| in_units(*bound, buckets.unit));
                    let labels: Vec<_> = labels.iter().copied().chain([("le", &*bound)]).collect();
                    text.sample(family.name, "_bucket", &labels, count);
                }
                let sum = self.sum(cell + buckets.cells() - 1);
                text.sample(family.name, "_sum", labels, in_units(sum, buckets.unit));
                text.sample(family.name, "_count", labels, count);
                return cell + buckets.cells();
            }
        }
        cell + 1
    }
}

/// The next combination of label values, the last label fastest; false after the last.
fn advance(indices: &mut [usize], labels: &[Label]) -> bool {
    for (index, label) in indices.iter_mut().zip(labels).rev() {
        *index += 1;
        if *index < label.values.len() {
            return true;
        }
        *index = 0;
    }
    false
}

/// `value` divided by `unit`, exactly.
pub(super) fn in_units(value: u64, unit: u64) -> String {
    if unit == 1 {
        return value.to_string();
    }
    let digits = unit.ilog10() as usize;
    debug_assert_eq!(10_u64.checked_pow(unit.ilog10()), Some(unit), "a unit is a power of ten");
    let text = format!("{}.{:0digits$}", value / unit, value % unit);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// What one thread counts with. Cloning is cheap; using it on another thread is right, but slower.
#[derive(Clone)]
pub struct Recorder {
    registry: Arc<Registry>,
    slot: usize,
}

impl fmt::Debug for Recorder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recorder").field("slot", &self.slot).finish_non_exhaustive()
    }
}

impl Recorder {
    /// The metrics that it counts in.
    pub fn registry(&self) -> &Arc<Registry> {
        &self.registry
    }

    /// Adds one.
    pub fn increment(&self, counter: Counter) {
        self.add(counter, 1);
    }

    /// Adds `count`.
    pub fn add(&self, counter: Counter, count: u64) {
        self.cell(counter.0).fetch_add(count, Ordering::Relaxed);
    }

    /// Changes this thread's part of a gauge.
    pub fn change(&self, gauge: Gauge, by: i64) {
        self.cell(gauge.0).fetch_add(by.cast_unsigned(), Ordering::Relaxed);
    }

    /// Sets this thread's part of a gauge.
    pub fn set(&self, gauge: Gauge, value: i64) {
        self.cell(gauge.0).store(value.cast_unsigned(), Ordering::Relaxed);
    }

    /// Counts one value.
    pub fn observe(&self, histogram: Histogram, value: u64) {
        let bounds = histogram.buckets.bounds;
        let bucket = bounds.partition_point(|bound| *bound < value);
        self.cell(histogram.first + u32::try_from(bucket).unwrap_or(0)).fetch_add(1, Ordering::Relaxed);
        self.cell(histogram.first + histogram.buckets.cells() - 1).fetch_add(value, Ordering::Relaxed);
    }

    /// Counts one duration, in a histogram of [`SECONDS`].
    pub fn observe_duration(&self, histogram: Histogram, duration: Duration) {
        debug_assert_eq!(histogram.buckets.unit, SECONDS.unit, "a histogram of durations");
        self.observe(histogram, u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX));
    }

    fn cell(&self, cell: u32) -> &AtomicU64 {
        &self.registry.slots[self.slot].cells[cell as usize]
    }
}

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeSet;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use postrider_storage::committer;
use postrider_storage::engine::EngineStats;

use super::http::HttpLimits;
use super::*;
use crate::reads::tests::of_nothing;
use crate::runtime::net::bind_tcp;
use crate::runtime::{Runtime, RuntimeOptions, Shutdown};
use crate::testing::PATIENCE;

fn text(registry: &Registry) -> String {
    let mut text = Text::new();
    registry.write(&mut text);
    text.finish()
}

#[test]
fn what_every_thread_counted_is_added_up() {
    let mut builder = Builder::new();
    let counter = builder.counter("postrider_x_total", "X.");
    let gauge = builder.gauge("postrider_y", "Y.");
    let registry = builder.build(3);
    std::thread::scope(|scope| {
        for writer in 0..3 {
            let recorder = registry.recorder(writer);
            scope.spawn(move || {
                for _ in 0..1000 {
                    recorder.increment(counter);
                }
                recorder.change(gauge, if writer == 0 { -5 } else { 2 });
            });
        }
    });
    assert_eq!((registry.counter(counter), registry.gauge(gauge)), (3000, -1));
    let expected = "# HELP postrider_x_total X.\n# TYPE postrider_x_total counter\npostrider_x_total 3000\n\
                    # HELP postrider_y Y.\n# TYPE postrider_y gauge\npostrider_y -1\n";
    assert_eq!(text(&registry), expected);
}

#[test]
fn threads_beyond_the_last_slot_still_count() {
    let mut builder = Builder::new();
    let counter = builder.counter("postrider_x_total", "X.");
    let registry = builder.build(1);
    registry.recorder(7).add(counter, 2);
    registry.recorder(0).increment(counter);
    assert_eq!(registry.counter(counter), 3);
}

#[test]
fn every_series_has_a_cell_of_its_own() {
    let mut builder = Builder::new();
    let before = builder.counter("postrider_before_total", "B.");
    let labels = [Label::new("a", ["x", "y"]), Label::new("b", ["1", "2", "3"])];
    let counters = builder.counters("postrider_c_total", "C.", labels);
    let after = builder.gauge("postrider_after", "A.");
    let registry = builder.build(1);
    let recorder = registry.recorder(0);
    recorder.add(before, 100);
    recorder.set(after, 200);
    for a in 0..2_usize {
        for b in 0..3_usize {
            recorder.add(counters.at([a, b]), (a * 10 + b) as u64);
        }
    }
    let text = text(&registry);
    for (labels, value) in
        [("a=\"x\",b=\"1\"", 0), ("a=\"x\",b=\"3\"", 2), ("a=\"y\",b=\"1\"", 10), ("a=\"y\",b=\"3\"", 12)]
    {
        assert!(text.contains(&format!("\npostrider_c_total{{{labels}}} {value}\n")), "{labels}: {text}");
    }
    assert!(
        text.contains("\npostrider_before_total 100\n") && text.ends_with("\npostrider_after 200\n"),
        "{text}"
    );
}

#[test]
#[should_panic(expected = "label value 2 of 2")]
fn a_label_value_that_does_not_exist_is_a_fault() {
    let mut builder = Builder::new();
    let counters = builder.counters("postrider_c_total", "C.", [Label::new("a", ["x", "y"])]);
    counters.at([2]);
}

#[test]
fn values_fall_into_the_bucket_whose_bound_they_reach() {
    let mut builder = Builder::new();
    let histogram = builder.histogram("postrider_n", "N.", &NUMBERS);
    let seconds = builder.histogram("postrider_s_seconds", "S.", &SECONDS);
    let registry = builder.build(2);
    for value in [0, 1, 2, 3, 1024, 1025] {
        registry.recorder(0).observe(histogram, value);
    }
    registry.recorder(1).observe_duration(seconds, Duration::from_micros(1500));
    assert_eq!(registry.histogram(histogram), (6, 2055));
    let text = text(&registry);
    for line in [
        "postrider_n_bucket{le=\"1\"} 2",
        "postrider_n_bucket{le=\"2\"} 3",
        "postrider_n_bucket{le=\"4\"} 4",
        "postrider_n_bucket{le=\"1024\"} 5",
        "postrider_n_bucket{le=\"+Inf\"} 6",
        "postrider_n_sum 2055",
        "postrider_n_count 6",
        "postrider_s_seconds_bucket{le=\"0.001\"} 0",
        "postrider_s_seconds_bucket{le=\"0.0025\"} 1",
        "postrider_s_seconds_sum 0.0015",
        "postrider_s_seconds_bucket{le=\"10\"} 1",
        "postrider_s_seconds_count 1",
    ] {
        assert!(text.contains(&format!("\n{line}\n")), "{line}: {text}");
    }
}

#[test]
fn values_of_labels_are_escaped() {
    let mut text = Text::new();
    text.sample("x", "", &[("a", "q\"b\\c\nd")], 1);
    assert_eq!(text.finish(), "x{a=\"q\\\"b\\\\c\\nd\"} 1\n");
}

#[test]
fn every_metric_is_documented_and_no_other() {
    let mut builder = Builder::new();
    Metrics::register(&mut builder, &["mx"]);
    let mut measured = Text::new();
    write_commits(&mut measured, &committer::Metrics::default());
    write_store(&mut measured, &EngineStats::default());
    write_shards(&mut measured, &[]);
    let text = text(&builder.build(1)) + &measured.finish();
    let names: BTreeSet<&str> =
        text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next()).collect();
    let reference = include_str!("../../../docs/metrics.md");
    let documented: BTreeSet<&str> = reference
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split('`').next())
        .filter(|name| name.starts_with("postrider_"))
        .collect();
    assert_eq!(documented, names);
}

#[test]
fn commits_are_shown_as_the_committer_counted_them() {
    use std::sync::atomic::Ordering::Relaxed;
    let commits = committer::Metrics::default();
    commits.latency[0].store(2, Relaxed);
    commits.latency[2].store(3, Relaxed);
    commits.latency[13].store(1, Relaxed);
    commits.latency_sum.store(2_001_500, Relaxed);
    commits.stops.store(7, Relaxed);
    let mut text = Text::new();
    write_commits(&mut text, &commits);
    let text = text.finish();
    for line in [
        "postrider_commit_duration_seconds_bucket{le=\"0.000125\"} 2",
        "postrider_commit_duration_seconds_bucket{le=\"0.00025\"} 2",
        "postrider_commit_duration_seconds_bucket{le=\"0.0005\"} 5",
        "postrider_commit_duration_seconds_bucket{le=\"1\"} 5",
        "postrider_commit_duration_seconds_bucket{le=\"+Inf\"} 6",
        "postrider_commit_duration_seconds_sum 2.0015",
        "postrider_commit_duration_seconds_count 6",
        "postrider_commit_failures_total 7",
    ] {
        assert!(text.contains(&format!("\n{line}\n")), "{line}: {text}");
    }
}

#[test]
fn limits_are_counted_by_name() {
    let mut builder = Builder::new();
    let metrics = Metrics::register(&mut builder, &[]);
    let registry = builder.build(1);
    registry.recorder(0).increment(metrics.limit(Limit::Recipients));
    let text = text(&registry);
    assert!(text.contains("\npostrider_limit_hits_total{limit=\"recipients\"} 1\n"), "{text}");
    assert!(text.contains("\npostrider_limit_hits_total{limit=\"quota\"} 0\n"), "{text}");
}

#[test]
fn metrics_are_served_and_slow_clients_are_dropped() {
    let mut builder = Builder::new();
    Metrics::register(&mut builder, &["mx", "imaps"]);
    let registry = builder.build(1);
    let shutdown = Shutdown::new();
    let (quick, usual) = (Duration::from_millis(300), PATIENCE);
    let [(for_slow, slow), (for_all, address)] = [quick, usual].map(|time| {
        let mut sockets = bind_tcp("127.0.0.1:0".parse().unwrap(), 1, 16).unwrap();
        let address = sockets[0].local_address().unwrap().unwrap();
        ((sockets.pop().unwrap(), time), address)
    });
    let (stop, sockets) = (shutdown.clone(), Arc::new(Mutex::new(vec![for_slow, for_all])));
    let options = RuntimeOptions { pin: false, ..RuntimeOptions::new(1) };
    let runtime = Runtime::start(&options, shutdown.clone(), move |_| {
        let registry = Arc::clone(&registry);
        let sockets = std::mem::take(&mut *sockets.lock().unwrap());
        let stop = stop.clone();
        async move {
            for (socket, time) in sockets {
                let registry = Arc::clone(&registry);
                let scrape = move |text: &mut Text| {
                    registry.write(text);
                    write_process(text);
                };
                let limits = HttpLimits { time, ..HttpLimits::default() };
                http::serve(socket, Rc::new(scrape), of_nothing().0, limits, stop.clone()).unwrap();
            }
            stop.wait().await;
        }
    });
    let ask_at = |address, request: &[u8]| {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.write_all(request).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    };
    let ask = |request| ask_at(address, request);
    let answer = ask(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
    assert!(head.contains(&format!("\r\nContent-Length: {}\r\n", body.len())), "{head}");
    assert!(body.contains("\npostrider_connections_total{listener=\"imaps\"} 0\n"), "{body}");
    assert!(body.contains("\nprocess_resident_memory_bytes "), "{body}");
    assert!(ask(b"GET / HTTP/1.1\r\n\r\n").starts_with("HTTP/1.1 404 "));
    assert!(ask(b"\x16\x03\x01\x00").starts_with("HTTP/1.1 400 "));
    let started = Instant::now();
    assert_eq!(ask_at(slow, b"GET /met"), "", "no answer to half a request");
    assert!(started.elapsed() >= quick && started.elapsed() < PATIENCE);
    shutdown.begin(Duration::from_secs(1));
    runtime.unwrap().join().unwrap();
    if let Some(file) = std::env::var_os("POSTRIDER_METRICS_SAMPLE") {
        std::fs::write(file, body).unwrap();
    }
}

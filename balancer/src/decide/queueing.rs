//! Formulas of queueing theory that the planner reckons with.

/// Probability that an arrival finds all of `servers` busy at `load` Erlang and must wait (Erlang C).
///
/// 1 at or beyond saturation. Source: Erlang B by its recursion, B(k) = aB(k-1) / (k + aB(k-1)), and
/// C = B / (1 - ρ(1 - B)).
pub fn erlang_c(servers: usize, load: f64) -> f64 {
    let m = servers as f64;
    if load >= m {
        return 1.0;
    }
    let blocked = (1..=servers).fold(1.0, |b, k| load * b / (k as f64 + load * b));
    blocked / (1.0 - load / m * (1.0 - blocked))
}

/// Mean wait of a request in an M/G/m queue, in units of its mean service time.
///
/// `scv`: squared coefficient of variation of the service time. Infinite at or beyond saturation.
/// Source: Lee and Longton's approximation, C(m, a) / (m - a) · (1 + c²) / 2. Good within a lane, bad
/// for a mix of lanes (algorithms.md 1.8).
pub fn mean_wait(servers: usize, load: f64, scv: f64) -> f64 {
    if servers == 0 || load >= servers as f64 * 0.999 {
        return f64::INFINITY;
    }
    erlang_c(servers, load) / (servers as f64 - load) * (1.0 + scv) / 2.0
}

/// 99th percentile of the wait in an M/G/m queue, in units of the mean service time.
///
/// Who waits does so for an exponential time in M/M/m: P(W > t) = C(m, a) · e^(-(m - a)t); scaled as the mean by
/// (1 + c²) / 2. Infinite at or beyond saturation.
pub fn tail_wait(servers: usize, load: f64, scv: f64) -> f64 {
    if servers == 0 || load >= servers as f64 * 0.999 {
        return f64::INFINITY;
    }
    let one_in = (100.0 * erlang_c(servers, load)).max(1.0);
    one_in.ln() / (servers as f64 - load) * (1.0 + scv) / 2.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_values() {
        // M/M/1: C = ρ, wait = ρ / (1 - ρ). M/M/2 at a = 1: C = 1/3, wait = 1/3.
        for (servers, load, c, wait) in [(1, 0.5, 0.5, 1.0), (2, 1.0, 1.0 / 3.0, 1.0 / 3.0)] {
            assert!((erlang_c(servers, load) - c).abs() < 1e-12);
            assert!((mean_wait(servers, load, 1.0) - wait).abs() < 1e-12);
            assert!((mean_wait(servers, load, 0.0) - wait / 2.0).abs() < 1e-12, "constant: half of it");
        }
        // M/M/1 at ρ = 0.5: P(W > t) = 0.5 e^(-0.5 t) is 1 % at 2 ln 50.
        assert!((tail_wait(1, 0.5, 1.0) - 2.0 * 50.0_f64.ln()).abs() < 1e-9);
        assert_eq!(tail_wait(10, 0.1, 1.0), 0.0, "fewer than one in a hundred wait");
        assert_eq!(tail_wait(2, 2.0, 1.0), f64::INFINITY);
        assert_eq!(erlang_c(3, 3.0), 1.0);
        assert_eq!(mean_wait(3, 3.0, 1.0), f64::INFINITY);
        assert_eq!(mean_wait(0, 0.0, 1.0), f64::INFINITY);
    }
}

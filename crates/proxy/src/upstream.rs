//! Load balancing: which server is next. Connections to it are the business of `pool`.

use parking_lot::Mutex;

use crate::Server;

/// The sum of the scaled weights is at most this, as in Unit, so that sums of gains fit into 32 bits.
const MOST: f64 = (i32::MAX / 2) as f64;

/// The largest weight that one server may have.
pub const MAX_WEIGHT: f64 = 1_000_000.0;

/// Load balancing: servers that share the requests by weight.
///
/// It is the smooth weighted round-robin of Unit and NGINX. For each request every server gains its weight; the one
/// with the highest gain, the first of several, is chosen and pays the sum of all weights. So with the weights 2 and
/// 1 the order is first, second, first, and not first, first, second.
///
/// Unit's router has such a state for each of its threads, so that its shares are approximate. Here there is one state,
/// and shares are exact.
///
/// # Fail-over
///
/// Not supported, as in Unit: a server that does not answer has its turn like all others, and that request ends in an
/// error. No other server is tried instead, and none is left out because of failures.
#[derive(Debug, Default)]
pub struct Upstream {
    turns: Mutex<Vec<Turn>>,
}

#[derive(Debug)]
struct Turn {
    server: Server,
    weight: i32,
    gained: i32,
}

/// Why a weight is invalid.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
pub enum WeightError {
    /// It is below zero, or not a number.
    #[error("the weight {0} is negative or not a number")]
    Negative(f64),
    /// It is above [`MAX_WEIGHT`].
    #[error("the weight {0} is above {MAX_WEIGHT}")]
    TooLarge(f64),
}

impl Upstream {
    /// Servers with their weights. Of servers with equal gains the first one is chosen. A weight is a real number
    /// from 0 to [`MAX_WEIGHT`]; Unit's default is 1.
    ///
    /// A server of weight 0 is never chosen. If there are only such servers, or none, requests end in
    /// [`ProxyError::NoServer`](crate::ProxyError::NoServer). Weights are rounded to about a billionth of their sum; a
    /// weight above 0 is not rounded down to 0.
    ///
    /// # Errors
    ///
    /// When a weight is not in that range.
    pub fn new(servers: impl IntoIterator<Item = (Server, f64)>) -> Result<Self, WeightError> {
        let servers: Vec<_> = servers.into_iter().collect();
        for &(_, weight) in &servers {
            if weight.is_nan() || weight < 0.0 {
                return Err(WeightError::Negative(weight));
            }
            if weight > MAX_WEIGHT {
                return Err(WeightError::TooLarge(weight));
            }
        }
        let sum: f64 = servers.iter().map(|(_, weight)| weight).sum();
        let scale = if sum == 0.0 { 0.0 } else { MOST / sum };
        // The quotient is infinite if all weights are nearly 0.
        let scale = if scale.is_finite() { scale } else { 1.0 };
        let turns = servers.into_iter().map(|(server, weight)| Turn {
            server,
            weight: scaled(weight * scale),
            gained: 0,
        });
        Ok(Self {
            turns: Mutex::new(turns.collect()),
        })
    }

    /// One server, as `proxy` of an action names it.
    pub fn single(server: Server) -> Self {
        Self {
            turns: Mutex::new(vec![Turn {
                server,
                weight: 1,
                gained: 0,
            }]),
        }
    }

    /// The server whose turn it is; `None` if no server has a weight above 0.
    pub fn choose(&self) -> Option<Server> {
        let mut turns = self.turns.lock();
        let mut sum = 0;
        let mut best: Option<usize> = None;
        for at in 0..turns.len() {
            turns[at].gained += turns[at].weight;
            sum += turns[at].weight;
            if best.is_none_or(|best| turns[at].gained > turns[best].gained) {
                best = Some(at);
            }
        }
        let best = &mut turns[best?];
        if sum == 0 {
            return None;
        }
        best.gained -= sum;
        Some(best.server.clone())
    }
}

/// Rounds, to at least 1 unless the weight is 0.
fn scaled(weight: f64) -> i32 {
    if weight == 0.0 {
        0
    } else {
        // It fits: it is at most `MOST`.
        weight.round().max(1.0) as i32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(port: u16) -> Server {
        Server::tcp(([127, 0, 0, 1], port).into())
    }

    fn upstream(weights: &[f64]) -> Upstream {
        let servers = (1..)
            .zip(weights)
            .map(|(port, weight)| (server(port), *weight));
        Upstream::new(servers).unwrap()
    }

    /// The servers' numbers, from 1 on.
    fn turns(upstream: &Upstream, count: usize) -> Vec<usize> {
        let number = |chosen: Option<Server>| {
            (1..10)
                .find(|port| Some(server(*port)) == chosen)
                .map_or(0, usize::from)
        };
        (0..count).map(|_| number(upstream.choose())).collect()
    }

    fn shares(weights: &[f64], count: usize) -> Vec<usize> {
        let turns = turns(&upstream(weights), count);
        (1..=weights.len())
            .map(|number| turns.iter().filter(|turn| **turn == number).count())
            .collect()
    }

    #[test]
    fn load_balancing_takes_turns_smoothly() {
        assert_eq!(turns(&upstream(&[1.0, 1.0]), 4), [1, 2, 1, 2]);
        assert_eq!(turns(&upstream(&[2.0, 1.0]), 6), [1, 2, 1, 1, 2, 1]);
        assert_eq!(turns(&upstream(&[5.0, 1.0, 1.0]), 7), [1, 1, 2, 1, 3, 1, 1]);
    }

    #[test]
    fn load_balancing_follows_the_weights() {
        // Those of Unit's own tests among them.
        assert_eq!(shares(&[3.0, 1.0], 100), [75, 25]);
        assert_eq!(shares(&[3.0, 1.0, 2.0], 100), [50, 17, 33]);
        assert_eq!(shares(&[10.0, 10.0, 10.0], 30), [10, 10, 10]);
        assert_eq!(shares(&[0.5, 1.0], 30), [10, 20]);
        assert_eq!(shares(&[0.25, 0.25], 100), [50, 50]);
        assert_eq!(shares(&[1e-5, 1.0], 10), [0, 10]);
        assert_eq!(shares(&[0.1, 1.0, 0.9], 20), [1, 10, 9]);
        assert_eq!(shares(&[MAX_WEIGHT, MAX_WEIGHT / 3.0], 4), [3, 1]);
    }

    #[test]
    fn load_balancing_never_chooses_a_weight_of_zero() {
        assert_eq!(shares(&[0.0, 1.0], 10), [0, 10]);
        assert_eq!(turns(&upstream(&[0.0, 0.0]), 2), [0, 0]);
        assert_eq!(turns(&upstream(&[]), 2), [0, 0]);
    }

    #[test]
    fn load_balancing_rounds_a_positive_weight_up_to_one() {
        assert_eq!(turns(&upstream(&[f64::MIN_POSITIVE]), 2), [1, 1]);
        assert_eq!(turns(&upstream(&[5e-324, 5e-324]), 2), [1, 2]);
        let tiny = upstream(&[5e-324, MAX_WEIGHT]);
        assert_eq!(tiny.turns.lock()[0].weight, 1);
    }

    #[test]
    fn an_invalid_weight_is_refused() {
        for weight in [-1.0, -5e-324, f64::NAN, f64::NEG_INFINITY] {
            let error = Upstream::new([(server(1), weight)]).unwrap_err();
            assert!(matches!(error, WeightError::Negative(_)), "{weight}");
        }
        for weight in [MAX_WEIGHT + 1.0, f64::INFINITY] {
            let error = Upstream::new([(server(1), weight)]).unwrap_err();
            assert!(matches!(error, WeightError::TooLarge(_)), "{weight}");
        }
    }

    #[test]
    fn load_balancing_sums_do_not_overflow() {
        let weights = [MAX_WEIGHT; 200];
        let upstream = upstream(&weights);
        for _ in 0..1_000 {
            assert!(upstream.choose().is_some());
        }
        let lopsided: Vec<_> = (0..100).map(|power| 0.5_f64.powi(power)).collect();
        let lopsided = self::upstream(&lopsided);
        for _ in 0..10_000 {
            assert!(lopsided.choose().is_some());
        }
    }
}

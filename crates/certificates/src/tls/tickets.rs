//! Session resumption by tickets: sessions that clients store, encrypted by the server.
//!
//! ```text
//! name of the key (16) │ salt (32) │ AES-256-GCM of: time of issue (8), session │ tag (16)
//! ```

use std::fmt;
use std::sync::Arc;

use ring::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use ring::hkdf::{HKDF_SHA256, KeyType, Prk, Salt};
use ring::rand::{SecureRandom as _, SystemRandom};
use rustls::crypto::GetRandomFailed;
use rustls::server::ProducesTickets;
use rustls::ticketer::TicketRotator;
use rustls::time_provider::TimeProvider;

use super::ticket_key::TicketKey;

/// RFC 8446, section 4.6.1: no client may keep a ticket for longer.
const LONGEST: u64 = 7 * 24 * 60 * 60;

const NAME: usize = 16;
const SALT: usize = 32;
const TIME: usize = 8;

/// Encrypts tickets, and decrypts them until they expire.
pub(crate) struct Ticketer {
    keys: Keys,
    lifetime: u32,
    clock: Arc<dyn TimeProvider>,
}

enum Keys {
    /// The last one encrypts.
    Given(Vec<Sealer>),
    /// Random, and replaced after each lifetime.
    Random(TicketRotator),
}

impl Ticketer {
    /// With configured keys, which other servers may share.
    pub(crate) fn given(keys: &[TicketKey], lifetime: u64, clock: Arc<dyn TimeProvider>) -> Self {
        Self {
            keys: Keys::Given(keys.iter().map(Sealer::new).collect()),
            lifetime: seconds(lifetime),
            clock,
        }
    }

    /// With random keys. Unit has one key for the life of a configuration; here keys rotate, so that a key
    /// that leaks does not decrypt old connections.
    pub(crate) fn random(
        lifetime: u64,
        clock: Arc<dyn TimeProvider>,
    ) -> Result<Self, rustls::Error> {
        let lifetime = seconds(lifetime);
        Ok(Self {
            keys: Keys::Random(TicketRotator::new(lifetime, Sealer::random)?),
            lifetime,
            clock,
        })
    }

    fn now(&self) -> Option<u64> {
        Some(self.clock.current_time()?.as_secs())
    }
}

fn seconds(lifetime: u64) -> u32 {
    u32::try_from(lifetime.min(LONGEST)).unwrap_or(u32::MAX)
}

impl ProducesTickets for Ticketer {
    fn enabled(&self) -> bool {
        true
    }

    fn lifetime(&self) -> u32 {
        self.lifetime
    }

    fn encrypt(&self, session: &[u8]) -> Option<Vec<u8>> {
        let message = [&self.now()?.to_be_bytes(), session].concat();
        match &self.keys {
            Keys::Given(keys) => keys.last()?.encrypt(&message),
            Keys::Random(rotator) => rotator.encrypt(&message),
        }
    }

    fn decrypt(&self, ticket: &[u8]) -> Option<Vec<u8>> {
        let message = match &self.keys {
            Keys::Given(keys) => {
                let mut keys = keys.iter().rev();
                keys.find(|key| ticket.starts_with(&key.name))?
                    .decrypt(ticket)?
            }
            Keys::Random(rotator) => rotator.decrypt(ticket)?,
        };
        let (issued, session) = message.split_first_chunk::<TIME>()?;
        let age = self.now()?.saturating_sub(u64::from_be_bytes(*issued));
        (age <= self.lifetime.into()).then(|| session.to_vec())
    }
}

impl fmt::Debug for Ticketer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ticketer").finish_non_exhaustive()
    }
}

/// One key. Each ticket is encrypted with a key derived from this one and a random salt: servers that
/// share a key cannot coordinate nonces, and random nonces of 12 bytes would repeat eventually.
struct Sealer {
    name: [u8; NAME],
    secret: Prk,
}

impl Sealer {
    fn new(key: &TicketKey) -> Self {
        let salt = Salt::new(HKDF_SHA256, b"session tickets");
        Self {
            name: key.name,
            secret: salt.extract(&key.secret),
        }
    }

    fn random() -> Result<Box<dyn ProducesTickets>, GetRandomFailed> {
        let (mut name, mut secret) = ([0; NAME], vec![0; 64]);
        let random = SystemRandom::new();
        for bytes in [&mut name[..], &mut secret[..]] {
            random.fill(bytes).map_err(|_| GetRandomFailed)?;
        }
        Ok(Box::new(Self::new(&TicketKey { name, secret })))
    }

    fn key(&self, salt: &[u8]) -> Option<(LessSafeKey, Nonce)> {
        let mut bytes = [0; KeyAndNonce::LENGTH];
        let info = [&self.name[..], salt];
        let expanded = self.secret.expand(&info, KeyAndNonce).ok()?;
        expanded.fill(&mut bytes).ok()?;
        let (nonce, key) = bytes.split_first_chunk()?;
        let key = UnboundKey::new(&AES_256_GCM, key).ok()?;
        Some((LessSafeKey::new(key), Nonce::assume_unique_for_key(*nonce)))
    }
}

impl ProducesTickets for Sealer {
    fn enabled(&self) -> bool {
        true
    }

    fn lifetime(&self) -> u32 {
        u32::MAX
    }

    fn encrypt(&self, message: &[u8]) -> Option<Vec<u8>> {
        let mut salt = [0; SALT];
        SystemRandom::new().fill(&mut salt).ok()?;
        let (key, nonce) = self.key(&salt)?;
        let mut sealed = message.to_vec();
        key.seal_in_place_append_tag(nonce, Aad::empty(), &mut sealed)
            .ok()?;
        Some([&self.name[..], &salt, &sealed].concat())
    }

    fn decrypt(&self, ticket: &[u8]) -> Option<Vec<u8>> {
        let rest = ticket.strip_prefix(&self.name)?;
        let (salt, sealed) = rest.split_first_chunk::<SALT>()?;
        let (key, nonce) = self.key(salt)?;
        let mut sealed = sealed.to_vec();
        let message = key.open_in_place(nonce, Aad::empty(), &mut sealed).ok()?;
        Some(message.to_vec())
    }
}

impl fmt::Debug for Sealer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sealer").finish_non_exhaustive()
    }
}

struct KeyAndNonce;

impl KeyAndNonce {
    const LENGTH: usize = 32 + 12;
}

impl KeyType for KeyAndNonce {
    fn len(&self) -> usize {
        Self::LENGTH
    }
}

#[cfg(test)]
mod tests {
    use super::super::sessions::tests::ManualClock;
    use super::*;

    fn key(byte: u8, length: usize) -> TicketKey {
        TicketKey {
            name: [byte; NAME],
            secret: vec![byte; length],
        }
    }

    #[test]
    fn the_last_ticket_key_encrypts_and_all_decrypt() {
        let clock = Arc::new(ManualClock::default());
        let ticketer = |keys: &[TicketKey]| Ticketer::given(keys, 60, clock.clone());
        let (old, new) = (key(1, 32), key(2, 64));
        let both = ticketer(&[old.clone(), new.clone()]);
        let (old, new) = (ticketer(&[old]), ticketer(&[new]));
        let ticket = both.encrypt(b"session").unwrap();
        assert_eq!(new.decrypt(&ticket).as_deref(), Some(&b"session"[..]));
        assert_eq!(old.decrypt(&ticket), None);
        let ticket = old.encrypt(b"older").unwrap();
        assert_eq!(both.decrypt(&ticket).as_deref(), Some(&b"older"[..]));
        assert_eq!(new.decrypt(&ticket), None);
    }

    #[test]
    fn ticket_keys_with_one_name_and_different_secrets_do_not_decrypt_each_others_tickets() {
        let clock = Arc::new(ManualClock::default());
        let (a, mut b) = (key(1, 32), key(1, 32));
        b.secret[31] ^= 1;
        let ticket =
            Ticketer::given(std::slice::from_ref(&a), 60, clock.clone()).encrypt(b"session");
        assert_eq!(
            Ticketer::given(&[b.clone()], 60, clock.clone()).decrypt(&ticket.unwrap()),
            None
        );
        // Of two keys with one name, the last one is used.
        let both = Ticketer::given(&[a, b], 60, clock);
        let ticket = both.encrypt(b"session").unwrap();
        assert!(both.decrypt(&ticket).is_some());
    }

    #[test]
    fn a_tampered_ticket_is_not_decrypted() {
        let clock = Arc::new(ManualClock::default());
        let random = Ticketer::random(60, clock.clone()).unwrap();
        let given = Ticketer::given(&[key(1, 64)], 60, clock);
        for ticketer in [random, given] {
            let ticket = ticketer.encrypt(b"session").unwrap();
            assert_ne!(ticketer.encrypt(b"session").unwrap(), ticket);
            for at in 0..ticket.len() {
                let mut changed = ticket.clone();
                changed[at] ^= 0x40;
                assert_eq!(ticketer.decrypt(&changed), None, "{at}");
                assert_eq!(ticketer.decrypt(&ticket[..at]), None, "{at}");
            }
            assert_eq!(ticketer.decrypt(&[&ticket[..], b"x"].concat()), None);
            assert!(ticketer.decrypt(&ticket).is_some());
        }
    }

    #[test]
    fn a_ticket_expires_after_its_lifetime() {
        let clock = Arc::new(ManualClock::default());
        let ticketer = Ticketer::given(&[key(1, 32)], 60, clock.clone());
        let ticket = ticketer.encrypt(b"session").unwrap();
        clock.advance(60);
        assert!(ticketer.decrypt(&ticket).is_some());
        clock.advance(1);
        assert!(ticketer.decrypt(&ticket).is_none());
    }

    #[test]
    fn no_ticket_is_valid_for_more_than_a_week() {
        let clock = Arc::new(ManualClock::default());
        for (lifetime, wanted) in [(1, 1), (300, 300), (u64::MAX, 604_800)] {
            assert_eq!(
                Ticketer::random(lifetime, clock.clone())
                    .unwrap()
                    .lifetime(),
                wanted
            );
        }
    }
}

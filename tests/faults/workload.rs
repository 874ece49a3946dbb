//! Users who register, book, pay, cancel, let holds expire, show their tickets at the door, look at what is not theirs,
//! delete their accounts, and never give up.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Result;
use contracts::identity::AccessClaims;
use eventplatform_tests::api::Reply;
use eventplatform_tests::people::{DECLINED_CARD, GOOD_CARD, LATE_CARD, NewEvent, PASSWORD, Person};
use eventplatform_tests::stack::Stack;
use futures::{StreamExt, TryStreamExt, stream};
use platform::Clock;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};
use uuid::Uuid;

use crate::checker::Violation;
use crate::journal::{Departure, Journal};

/// Seats of an event that never sells out, and of one that does.
const MANY: u32 = 1_000_000;
const FEW: u32 = 15;
/// The longest wait for one answer; a user in a hurry leaves much earlier.
const PATIENCE: Duration = Duration::from_secs(20);
/// A user asks again for so long.
const PERSISTENCE: Duration = Duration::from_secs(90);
/// With this card the gateway fails every time: users see 503, and soon leave it.
const FAILING_CARD: &str = "pm_mock_error";
const PERSISTENCE_WITH_IT: Duration = Duration::from_secs(4);
/// Ends the path that cancels a booking. Its answer shows how far the refund has come, so it changes.
const CANCEL: &str = "/cancel";
/// Deletes the account of whoever asks.
const DELETE_ACCOUNT: &str = "/users/me/delete";
/// In the name and the address of everybody who deletes their account, so that they are found wherever they are stored.
pub(crate) const LEAVER: &str = "leaver-";
/// Of a hundred requests that were answered, so many are made again under their keys.
const REPEATED: u32 = 8;
/// What is counted when nobody was served for [`PERSISTENCE`].
pub(crate) const GIVEN_UP: &str = "given up";
/// How failures are counted that are the gateway's.
pub(crate) const HOPELESS: &str = "again, with the failing card";
/// Bookings of an event that sells out, before there is a new one.
const CONTESTED: u32 = 60;

/// Who books what.
pub(crate) struct Workload {
    pub(crate) journal: Arc<Journal>,
    pub(crate) people: Vec<Person>,
    pub(crate) organizer: Person,
    /// Renewed whenever somebody has as many of its seats as one person may have.
    free: Mutex<String>,
    priced: String,
    /// Begins soon, so that its tickets are checked in; renewed like `free`.
    tonight: Mutex<String>,
    /// The event of which somebody last had all the seats that one person may have.
    used_up: Mutex<Option<String>>,
    contested: Mutex<String>,
    contests: AtomicU32,
    stop: AtomicBool,
    /// How many of a hundred requests are left by their users before the answer comes.
    pub(crate) hurry: AtomicU32,
}

impl Workload {
    /// Registers people and creates events.
    pub(crate) async fn prepare(stack: &Stack, people: usize) -> Result<Arc<Self>> {
        let organizer = stack.organizer().await?;
        // Hashing a password takes long, so few at a time.
        let registering = stream::iter((0..people).map(|_| stack.attendee())).buffer_unordered(4);
        let people = registering.try_collect().await?;
        Ok(Arc::new(Self {
            journal: Arc::default(),
            free: Mutex::new(organizer.creates(generous(NewEvent::free(MANY))).await?),
            priced: organizer.creates(generous(NewEvent::priced(MANY, 1500))).await?,
            tonight: Mutex::new(organizer.creates(tonight()).await?),
            contested: Mutex::new(organizer.creates(NewEvent::priced(FEW, 700)).await?),
            contests: AtomicU32::new(0),
            used_up: Mutex::default(),
            people,
            organizer,
            stop: AtomicBool::new(false),
            hurry: AtomicU32::new(4),
        }))
    }

    /// The same people and events, to be stopped by itself.
    pub(crate) fn another(&self) -> Self {
        Self {
            journal: self.journal.clone(),
            people: self.people.clone(),
            organizer: self.organizer.clone(),
            free: Mutex::new(current(&self.free)),
            priced: self.priced.clone(),
            tonight: Mutex::new(current(&self.tonight)),
            contested: Mutex::new(current(&self.contested)),
            contests: AtomicU32::new(0),
            used_up: Mutex::default(),
            stop: AtomicBool::new(false),
            hurry: AtomicU32::new(4),
        }
    }

    /// Sets that many clients to work; they end by [`Workload::stop`].
    pub(crate) fn run(self: &Arc<Self>, clients: usize, seed: u64) -> JoinSet<()> {
        let mut all = JoinSet::new();
        for number in 0..clients {
            let (work, rng) = (self.clone(), StdRng::seed_from_u64(seed.wrapping_mul(1_000_003) + number as u64));
            all.spawn(async move { work.client(rng).await });
        }
        all
    }

    pub(crate) fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }

    fn stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    async fn client(self: Arc<Self>, mut rng: StdRng) {
        // Not all at once.
        sleep(Duration::from_millis(rng.random_range(0..1000))).await;
        while !self.stopped() {
            match rng.random_range(0..100) {
                0..55 => drop(self.book_free(&mut rng).await),
                55..58 => self.enter(&mut rng).await.unwrap_or_default(),
                58..72 => self.buy(&self.priced, &mut rng).await,
                72..80 => drop(self.book(&self.priced, &mut rng).await),
                80..86 => self.cancel(&mut rng).await,
                86..94 => self.contest(&mut rng).await,
                94..97 => self.peek(&mut rng).await,
                97 => self.read(&mut rng).await,
                98 => drop(self.leave(&mut rng).await),
                _ => self.register(&mut rng).await,
            }
        }
    }

    /// Books what costs nothing.
    async fn book_free(&self, rng: &mut StdRng) -> Option<(Person, Value)> {
        self.book_current(&self.free, generous(NewEvent::free(MANY)), rng).await
    }

    /// Books the current event of a kind. One person may have but so many seats of an event; then there is a new one.
    async fn book_current(&self, kind: &Mutex<String>, next: NewEvent, rng: &mut StdRng) -> Option<(Person, Value)> {
        let event = current(kind);
        let booked = self.book(&event, rng).await;
        if booked.is_none() && self.is_used_up(&event) {
            let (_, reply) = self.insist(&self.organizer, "/api/events", &next.body(), rng).await?;
            let mut kind = kind.lock().unwrap_or_else(PoisonError::into_inner);
            if *kind == event {
                reply.body["id"].as_str()?.clone_into(&mut kind);
            }
        }
        booked
    }

    /// Books an event that begins soon, and shows the same ticket at two doors at once.
    async fn enter(&self, rng: &mut StdRng) -> Option<()> {
        let (person, booking) = self.book_current(&self.tonight, tonight(), rng).await?;
        let code = self.ticket_code(&person, &booking, rng).await?;
        self.show_at_two_doors(&booking, &code, rng).await?;
        self.journal.count("entered");
        Some(())
    }

    /// The code of the first ticket, once the booking has any.
    pub(crate) async fn ticket_code(&self, person: &Person, booking: &Value, rng: &mut StdRng) -> Option<String> {
        let path = format!("/bookings/{}", booking["id"]);
        // A replica of an older version shows no tickets.
        let is_decided = |reply: &Reply| {
            let may_get_tickets = ["Pending", "Confirmed"].map(Value::from).contains(&reply.body["status"]);
            reply.status == 200 && (!may_get_tickets || reply.body["tickets"][0]["code"].is_string())
        };
        let seen = self.persist(|| person.request(Method::GET, &path), is_decided, rng).await?;
        seen.body["tickets"][0]["code"].as_str().map(str::to_owned)
    }

    /// Scans a ticket twice at once: one scan lets it in, and gets the same answer when it is sent again.
    pub(crate) async fn show_at_two_doors(&self, booking: &Value, code: &str, rng: &mut StdRng) -> Option<()> {
        let scans = [Uuid::from_u128(rng.random()), Uuid::from_u128(rng.random())]
            .map(|scan_id| json!({ "event_id": booking["event_id"], "code": code, "scan_id": scan_id }));
        let mut other = StdRng::seed_from_u64(rng.random());
        let (one, another) = tokio::join!(self.scan(&scans[0], rng), self.scan(&scans[1], &mut other));
        let (one, another) = (one?, another?);
        let admitted = [&one, &another].iter().filter(|reply| reply.status == 200).count();
        if admitted != 1 {
            let what = format!("{admitted} scans of one ticket of booking {} succeeded", booking["id"]);
            self.journal.violated([Violation::new(16, what)]);
        }
        let (scan, first) = if one.status == 200 { (&scans[0], one) } else { (&scans[1], another) };
        let again = self.scan(scan, rng).await?;
        if (again.status, &again.body) != (first.status, &first.body) {
            let what = format!("the scan {scan} was answered {} and then {}", first.body, again.body);
            self.journal.violated([Violation::new(16, what)]);
        }
        Some(())
    }

    /// Sends a scan until it is decided.
    async fn scan(&self, scan: &Value, rng: &mut StdRng) -> Option<Reply> {
        let is_decided = |reply: &Reply| reply.status == 200 || code(&reply.body) == "already_checked_in";
        let send = || self.organizer.request(Method::POST, "/tickets/check-ins").json(scan);
        self.persist(send, is_decided, rng).await
    }

    /// Whether somebody was refused because of the seats that they have of the event.
    fn is_used_up(&self, event_id: &str) -> bool {
        self.used_up.lock().unwrap_or_else(PoisonError::into_inner).as_deref() == Some(event_id)
    }

    /// Books, and gives the booking if it was acknowledged.
    async fn book(&self, event_id: &str, rng: &mut StdRng) -> Option<(Person, Value)> {
        let person = self.people.choose(rng)?.clone();
        let booking = self.book_for(&person, event_id, rng).await?;
        Some((person, booking))
    }

    async fn book_for(&self, person: &Person, event_id: &str, rng: &mut StdRng) -> Option<Value> {
        let body = json!({ "event_id": event_id, "seats": rng.random_range(1..=3) });
        let (key, reply) = self.insist(person, "/bookings", &body, rng).await?;
        match reply.status {
            201 => {
                self.journal.booked(&key, &reply.body);
                self.journal.count("booked");
                Some(reply.body)
            }
            status => {
                // A limit on held seats passes, so its answer is not kept.
                if status != 429 {
                    self.journal.answered(&key, &reply.body);
                }
                if code(&reply.body) == "person_limit_reached" {
                    *self.used_up.lock().unwrap_or_else(PoisonError::into_inner) = Some(event_id.to_owned());
                }
                self.journal.count(format!("booking refused: {status} {}", code(&reply.body)));
                None
            }
        }
    }

    async fn buy(&self, event_id: &str, rng: &mut StdRng) {
        let Some((person, booking)) = self.book(event_id, rng).await else { return };
        let card = match rng.random_range(0..100) {
            0..82 => GOOD_CARD,
            82..88 => DECLINED_CARD,
            88..91 => FAILING_CARD,
            91..94 => "pm_mock_timeout",
            94..98 => LATE_CARD,
            _ => "pm_mock_late_chargeDeclined",
        };
        self.pay(&person, &booking, card, rng).await;
    }

    /// Pays for a booking; true if its owner was told that it is paid.
    pub(crate) async fn pay(&self, person: &Person, booking: &Value, card: &str, rng: &mut StdRng) -> bool {
        let body = json!({ "booking_id": booking["id"], "payment_method": card });
        let Some((key, reply)) = self.insist(person, "/payments", &body, rng).await else { return false };
        // A payment under way is answered as it stood when it was first asked for.
        self.journal.answered(&key, &reply.body);
        let outcome = if reply.status < 300 { String::new() } else { format!(" {}", code(&reply.body)) };
        self.journal.count(format!("payment: {}{outcome}", reply.status));
        let paid = reply.status == 201 && reply.body["status"] == "Succeeded";
        if paid {
            self.journal.paid(booking["id"].as_i64().unwrap_or_default());
        }
        paid
    }

    async fn cancel(&self, rng: &mut StdRng) {
        let booked = if rng.random_bool(0.5) { self.book_free(rng).await } else { self.book(&self.priced, rng).await };
        let Some((person, booking)) = booked else { return };
        if booking["status"] == "Pending" && rng.random_bool(0.6) {
            self.pay(&person, &booking, GOOD_CARD, rng).await;
        }
        if let Some(reply) = self.call_off(&person, &booking, rng).await {
            self.journal.count(format!("cancellation: {}", reply.status));
        }
    }

    /// Cancels a booking.
    pub(crate) async fn call_off(&self, person: &Person, booking: &Value, rng: &mut StdRng) -> Option<Reply> {
        let id = booking["id"].as_i64().unwrap_or_default();
        self.journal.cancels(id);
        let (_, reply) = self.insist(person, &format!("/bookings/{id}{CANCEL}"), &json!({}), rng).await?;
        if reply.status == 200 {
            self.journal.cancelled(id);
        }
        Some(reply)
    }

    /// Wants one of the few seats that many want; now and then there is a new event, and the old one is called off.
    async fn contest(&self, rng: &mut StdRng) {
        let event = current(&self.contested);
        if self.contests.fetch_add(1, Ordering::Relaxed) % CONTESTED == CONTESTED - 1 {
            return self.renew_contest(&event, rng).await;
        }
        if rng.random_bool(0.7) {
            self.buy(&event, rng).await;
        } else {
            self.book(&event, rng).await;
        }
    }

    async fn renew_contest(&self, old: &str, rng: &mut StdRng) {
        let body = NewEvent::priced(FEW, 700).body();
        let Some((_, reply)) = self.insist(&self.organizer, "/api/events", &body, rng).await else { return };
        let Some(id) = reply.body["id"].as_str() else { return };
        id.clone_into(&mut self.contested.lock().unwrap_or_else(PoisonError::into_inner));
        let changed = json!({ "title": format!("Moved {}", Uuid::new_v4().simple()) });
        self.edit(old, &changed).await;
        if rng.random_bool(0.5) {
            self.edit(old, &json!({ "status": "cancelled" })).await;
        }
    }

    /// Changes an event; a failure is left as it is.
    pub(crate) async fn edit(&self, event_id: &str, patch: &Value) {
        let path = format!("/api/events/{event_id}");
        let request = self.organizer.request(Method::PATCH, &path).timeout(PATIENCE).json(patch);
        let status = Reply::to(request).await.map_or("no answer".to_owned(), |reply| reply.status.to_string());
        self.journal.count(format!("event changed: {status}"));
    }

    /// Looks at somebody else's booking.
    async fn peek(&self, rng: &mut StdRng) {
        if let Some((owner, booking)) = self.book_free(rng).await {
            self.peek_at(&owner, &booking).await;
        }
    }

    /// Has somebody else look at a booking and at its owner's notifications, pay for the booking, and cancel it.
    pub(crate) async fn peek_at(&self, owner: &Person, booking: &Value) {
        let Some(other) = self.people.iter().find(|person| person.id != owner.id) else { return };
        let id = &booking["id"];
        let attempts = [
            (Method::GET, format!("/bookings/{id}"), Value::Null),
            (Method::GET, format!("/notifications/{}", owner.id), Value::Null),
            (Method::POST, "/payments".to_owned(), json!({ "booking_id": id, "payment_method": GOOD_CARD })),
            (Method::POST, format!("/bookings/{id}{CANCEL}"), json!({})),
        ];
        for (method, path, body) in attempts {
            let request = other.request(method.clone(), &path).header("idempotency-key", Uuid::new_v4().to_string());
            let request = if body.is_null() { request } else { request.json(&body) };
            let Ok(reply) = Reply::to(request.timeout(PATIENCE)).await else { continue };
            if reply.status < 400 {
                let what = format!("user {} may {method} {path} of user {}: {}", other.id, owner.id, reply.body);
                self.journal.violated([Violation::new(13, what)]);
            }
            self.journal.count(format!("peeked: {}", reply.status));
        }
    }

    async fn read(&self, rng: &mut StdRng) {
        let Some(person) = self.people.choose(rng) else { return };
        for path in ["/api/events?limit=5".to_owned(), format!("/notifications/{}?limit=5", person.id)] {
            let reply = Reply::to(person.request(Method::GET, &path).timeout(PATIENCE)).await;
            self.journal
                .count(format!("read: {}", reply.map_or("no answer".to_owned(), |reply| reply.status.to_string())));
        }
    }

    pub(crate) async fn register(&self, rng: &mut StdRng) {
        let Some(person) = self.people.choose(rng) else { return };
        let email = format!("late-{}@people.example", Uuid::new_v4().simple());
        let body = json!({ "email": email, "password": "correct horse battery staple", "name": "Late" });
        let visitor = person.clone();
        if let Some((key, reply)) = self.insist(&visitor, "/users/register", &body, rng).await {
            self.journal.answered(&key, &reply.body);
            self.journal.count(format!("registration: {}", reply.status));
        }
    }

    /// Somebody registers, books, and deletes the account, with bookings that are free, paid, being paid and pending.
    /// Gives their id if they were told that the account is deleted.
    pub(crate) async fn leave(&self, rng: &mut StdRng) -> Option<i32> {
        let (leaver, name) = self.arrive(rng).await?;
        self.book_for(&leaver, &current(&self.free), rng).await;
        let booking = self.book_for(&leaver, &self.priced, rng).await?;
        let card = if rng.random() { GOOD_CARD } else { LATE_CARD };
        self.pay(&leaver, &booking, card, rng).await;
        self.book_for(&leaver, &self.priced, rng).await;
        let (user_id, email) = (leaver.id, leaver.email.clone());
        self.journal.leaves(Departure { user_id, name, email, acknowledged: false, returned: false });
        let body = json!({ "password": PASSWORD });
        // Whoever asks again because no answer came is told that the session is over.
        let is_deleted = |reply: &Reply| reply.status == 204 || code(&reply.body) == "session_over";
        let delete = || leaver.request(Method::POST, DELETE_ACCOUNT).json(&body);
        let reply = self.persist(delete, is_deleted, rng).await?;
        self.journal.left(leaver.id);
        self.journal.count(format!("account deleted: {}", reply.status));
        self.book_once_more(&leaver, rng).await?;
        i32::try_from(leaver.id).ok()
    }

    /// Registers somebody and logs them in; gives the name too.
    async fn arrive(&self, rng: &mut StdRng) -> Option<(Person, String)> {
        let tag = format!("{LEAVER}{}", Uuid::from_u128(rng.random()).simple());
        let (name, email) = (format!("Somebody {tag}"), format!("{tag}@people.example"));
        let body = json!({ "email": email, "password": PASSWORD, "name": name });
        let (key, user) = self.insist(&self.organizer, "/users/register", &body, rng).await?;
        self.journal.answered(&key, &user.body);
        let login = json!({ "email": email, "password": PASSWORD });
        let log_in = || self.organizer.request(Method::POST, "/users/login").json(&login);
        let tokens = self.persist(log_in, |reply| reply.status == 200 && !is_from_the_future(reply), rng).await?;
        let api = self.organizer.with_token(tokens.body["access_token"].as_str()?);
        Some((Person::new(user.body["id"].as_i64()?, email, api), name))
    }

    /// Books with a token that some services may still accept after the deletion. `None` if no answer came, so that the
    /// request may still be under way.
    async fn book_once_more(&self, leaver: &Person, rng: &mut StdRng) -> Option<()> {
        let key = Uuid::from_u128(rng.random()).to_string();
        let body = json!({ "event_id": current(&self.free), "seats": 1 });
        let request = leaver.request(Method::POST, "/bookings").header("idempotency-key", &key).json(&body);
        let reply = Reply::to(request.timeout(PATIENCE)).await.ok()?;
        if reply.status == 201 {
            self.journal.booked(&key, &reply.body);
        }
        self.journal.count(format!("booking after the deletion: {} {}", reply.status, code(&reply.body)));
        (reply.status < 500).then_some(())
    }

    /// Asks, without a key, until there is an answer of that kind. `None` at the end of the run, or when it takes too
    /// long.
    async fn persist(
        &self,
        request: impl Fn() -> RequestBuilder,
        is_answer: impl Fn(&Reply) -> bool,
        rng: &mut StdRng,
    ) -> Option<Reply> {
        let deadline = Instant::now() + PERSISTENCE;
        while Instant::now() < deadline {
            match Reply::to(request().timeout(PATIENCE)).await {
                Ok(reply) if is_answer(&reply) => return Some(reply),
                Ok(reply) => self.journal.count(format!("again: {} {}", reply.status, code(&reply.body))),
                Err(_) => self.journal.count("again: no answer"),
            }
            if self.stopped() {
                return None;
            }
            sleep(Duration::from_millis(rng.random_range(50..300))).await;
        }
        self.journal.count(GIVEN_UP);
        None
    }

    /// Asks under one key until there is an answer that is no failure: no answer means unknown. `None` at the end of
    /// the run, or when it takes too long.
    pub(crate) async fn insist(
        &self,
        who: &Person,
        path: &str,
        body: &Value,
        rng: &mut StdRng,
    ) -> Option<(String, Reply)> {
        let key = Uuid::from_u128(rng.random()).to_string();
        let hopeless = body["payment_method"] == FAILING_CARD;
        let deadline = Instant::now() + if hopeless { PERSISTENCE_WITH_IT } else { PERSISTENCE };
        let again = if hopeless { HOPELESS } else { "again" };
        while Instant::now() < deadline {
            let hurried = rng.random_range(0..100) < self.hurry.load(Ordering::Relaxed);
            let patience = if hurried { Duration::from_millis(rng.random_range(20..400)) } else { PATIENCE };
            let request = who.request(Method::POST, path).header("idempotency-key", &key).json(body);
            let asked = (path == "/bookings" && !hurried).then(|| self.journal.asks());
            let reply = Reply::to(request.timeout(patience)).await;
            let lasting = reply.as_ref().is_ok_and(is_lasting);
            if let Some(asked) = asked {
                self.journal.ended(asked, lasting);
            }
            match reply {
                Ok(reply) if lasting => {
                    if reply.status < 300 && !path.ends_with(CANCEL) && rng.random_range(0..100) < REPEATED {
                        self.repeats(who, path, body, &key).await;
                    }
                    return Some((key, reply));
                }
                Ok(reply) => self.journal.count(format!("{again}: {} {}", reply.status, code(&reply.body))),
                Err(_) => self.journal.count(if hurried { "again: left" } else { "again: no answer" }),
            }
            if self.stopped() {
                return None;
            }
            sleep(Duration::from_millis(rng.random_range(50..300))).await;
        }
        self.journal.count(if hopeless { "given up, with the failing card" } else { GIVEN_UP });
        None
    }

    /// Asks twice more, at once, under a key that was answered: whatever lasts has to be that answer.
    async fn repeats(&self, who: &Person, path: &str, body: &Value, key: &str) {
        let ask =
            || Reply::to(who.request(Method::POST, path).header("idempotency-key", key).json(body).timeout(PATIENCE));
        let (one, other) = tokio::join!(ask(), ask());
        for reply in [one, other].into_iter().flatten() {
            if is_lasting(&reply) {
                self.journal.answered(key, &reply.body);
                self.journal.count("answered once more");
            } else {
                self.journal.count(format!("again: {} {}", reply.status, code(&reply.body)));
            }
        }
    }
}

fn current(event: &Mutex<String>) -> String {
    event.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

/// A free event whose tickets can be checked in.
pub(crate) fn tonight() -> NewEvent {
    generous(NewEvent::free(MANY)).tonight()
}

/// One booking may have as many seats as the platform allows, and one person hold as many.
fn generous(event: NewEvent) -> NewEvent {
    event.with("max_seats_per_booking", 100)
}

/// Whether an answer stays the same for a while when it is asked for again.
fn is_lasting(reply: &Reply) -> bool {
    let passing = ["request_in_progress", "payment_in_progress"];
    // It passes when a hold ends: no user waits for that.
    if code(&reply.body) == "held_seats_limit" {
        return true;
    }
    // A clock that is five minutes ahead refuses every token.
    reply.status < 500 && ![401, 429].contains(&reply.status) && !passing.contains(&code(&reply.body))
}

/// Whether the token of a login is refused everywhere for minutes, because the clock of the replica that issued it is
/// ahead. Who is told so logs in again.
fn is_from_the_future(login: &Reply) -> bool {
    let token = login.body["access_token"].as_str().unwrap_or_default();
    let claims = jsonwebtoken::dangerous::insecure_decode_claims::<AccessClaims>(token);
    claims.is_ok_and(|claims| claims.iat > Clock::system().now().timestamp() + 30)
}

fn code(body: &Value) -> &str {
    body["code"].as_str().unwrap_or_default()
}

//! Listing and searching events, page by page.

use bson::{Document, doc};
use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use contracts::identity::Role;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::helpers::{EventAnswer, ORGANIZER, TestApp, text};

fn rfc3339(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Millis, true)
}

impl TestApp {
    /// The organizer creates a concert that starts in that many days.
    async fn creates_in(&self, days: i64, title: &str, fields: Value) -> String {
        let start = self.clock.now() + TimeDelta::days(days);
        let mut all = json!({ "title": title, "starts_at": start, "ends_at": start + TimeDelta::hours(2) });
        all.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        text(&self.creates(&all).await["id"])
    }

    async fn lists(&self, query: &str) -> Vec<String> {
        self.get(&format!("/api/events{query}")).send().await.titles()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_shows_published_events_that_have_not_ended_by_start() {
    let app = TestApp::start().await;
    for (days, title) in [(3, "third"), (1, "first"), (2, "second")] {
        app.creates_in(days, title, json!({})).await;
    }
    app.creates_in(1, "draft", json!({ "status": "draft" })).await;
    let cancelled = app.creates_in(1, "cancelled", json!({})).await;
    app.edits(&cancelled, &json!({ "status": "cancelled" })).await.assert_ok();

    assert_eq!(app.lists("").await, ["first", "second", "third"]);
    app.clock.advance(TimeDelta::hours(26));
    assert_eq!(app.lists("?limit=50").await, ["second", "third"]);
    app.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_follow_each_other_without_gaps_or_repetition() {
    let app = TestApp::start().await;
    let same_start =
        json!({ "starts_at": app.clock.now() + TimeDelta::days(5), "ends_at": app.clock.now() + TimeDelta::days(6) });
    let mut made = Vec::new();
    for n in 0..7 {
        made.push(
            app.creates_in(n + 3, &format!("n{n}"), if n % 2 == 0 { same_start.clone() } else { json!({}) }).await,
        );
    }

    let (mut found, mut cursor, mut pages) = (Vec::new(), String::new(), 0);
    loop {
        let page = app.get(&format!("/api/events?limit=2{cursor}")).send().await;
        found.extend(page.assert_ok()["items"].as_array().unwrap().iter().map(|item| text(&item["id"])));
        pages += 1;
        match page.body["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }

    assert_eq!((pages, found.len()), (4, 7));
    found.sort();
    made.sort();
    assert_eq!(found, made);
    app.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_search_matches_prefixes_of_words_and_needs_all_of_them() {
    let app = TestApp::start().await;
    app.creates_in(1, "Café del Mar", json!({ "venue": "München Olympiahalle", "category": "music" })).await;
    app.creates_in(2, "Cafeteria tour", json!({ "venue": "Berlin", "description": "Free coffee, 24 cups" })).await;
    app.creates_in(3, "Rust workshop", json!({ "venue": "Berlin" })).await;

    assert_eq!(app.lists("?q=caf").await, ["Café del Mar", "Cafeteria tour"]);
    assert_eq!(app.lists("?q=CAF%C3%89%20mun").await, ["Café del Mar"]);
    assert_eq!(app.lists("?q=berlin+rust").await, ["Rust workshop"]);
    assert_eq!(app.lists("?q=24").await, ["Cafeteria tour"]);
    assert_eq!(app.lists("?q=music").await, ["Café del Mar"]);
    assert!(app.lists("?q=berlin+opera").await.is_empty());
    for wordless in ["(", ".*", "%F0%9F%8E%89", "%CC%81"] {
        assert!(app.lists(&format!("?q={wordless}")).await.is_empty(), "{wordless} is no word of any event");
    }
    assert_eq!(app.lists("?q=%20").await.len(), 3, "a blank query has no filter");
    app.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn accented_letters_match_plain_ones() {
    let app = TestApp::start().await;
    app.creates_in(1, "Straßenfest", json!({ "venue": "Ørsted Halle" })).await;
    app.creates_in(2, "Zoe\u{308} in Łódź", json!({})).await;

    for query in ["strassenfest", "STRASSEN", "stra%C3%9Fe", "orsted", "%C3%98RSTED"] {
        assert_eq!(app.lists(&format!("?q={query}")).await, ["Straßenfest"], "{query}");
    }
    for query in ["zo%C3%AB", "zoe", "lodz", "%EF%BD%8C%EF%BD%8F%EF%BD%84%EF%BD%9A"] {
        assert_eq!(app.lists(&format!("?q={query}")).await, ["Zoe\u{308} in Łódź"], "{query}");
    }
    app.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn events_of_an_older_replica_get_search_keys() {
    let app = TestApp::start().await;
    let id = app.creates_in(1, "Straßenfest", json!({ "category": "Straße" })).await;
    app.creates_in(2, "Opera", json!({})).await;
    let events = app.database.collection::<Document>("events");
    let as_old = doc! { "$set": { "words": ["straßenfest"] }, "$unset": { "keys_version": "", "category_key": "" } };
    events.update_one(doc! { "_id": &id }, as_old).await.unwrap();
    assert_eq!(app.lists("?category=Stra%C3%9Fe").await, ["Straßenfest"], "before it has a key");
    let store = &app.app.state.store;

    let made = store.refresh_search_keys(10).await.unwrap();
    let again = store.refresh_search_keys(10).await.unwrap();

    assert_eq!((made, again), (1, 0));
    assert_eq!(app.lists("?q=strassen").await, ["Straßenfest"]);
    assert_eq!(app.lists("?category=STRASSE").await, ["Straßenfest"]);
    assert_eq!(app.event(&id).await.version, 1, "the version stays");
    app.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_under_way_is_listed_until_it_ends() {
    let app = TestApp::start().await;
    let now = app.clock.now();
    let fair = json!({ "starts_at": now + TimeDelta::days(1), "ends_at": now + TimeDelta::days(4) });
    app.creates_in(1, "fair", fair).await;
    app.creates_in(6, "later", json!({})).await;
    app.clock.advance(TimeDelta::days(2));
    let days = |n: i64| rfc3339(now + TimeDelta::days(n));

    assert_eq!(app.lists("").await, ["fair", "later"], "it is not over");
    assert_eq!(app.lists(&format!("?from={}", days(2))).await, ["fair", "later"]);
    assert_eq!(app.lists(&format!("?from={}&to={}", days(2), days(3))).await, ["fair"]);
    assert!(app.lists(&format!("?from={}&to={}", days(4), days(5))).await.is_empty(), "it ends as the span begins");
    assert!(app.lists(&format!("?from={}&to={}", days(0), days(1))).await.is_empty(), "it begins as the span ends");
    let first = app.get(&format!("/api/events?from={}&limit=1", days(2))).send().await;
    let cursor = text(&first.assert_ok()["next_cursor"]);
    let second = app.get(&format!("/api/events?from={}&limit=1&cursor={cursor}", days(2))).send().await;
    assert_eq!((first.titles(), second.titles()), (vec!["fair".to_owned()], vec!["later".to_owned()]));
    app.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_title_is_found_by_its_new_words() {
    let app = TestApp::start().await;
    let id = app.creates_in(1, "Opera", json!({})).await;

    app.edits(&id, &json!({ "title": "Ballet" })).await.assert_ok();

    assert_eq!(app.lists("?q=ballet").await, ["Ballet"]);
    assert!(app.lists("?q=opera").await.is_empty());
    app.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn filters_narrow_the_list() {
    let app = TestApp::start().await;
    let now = app.clock.now();
    app.creates_in(1, "one", json!({ "category": "music" })).await;
    let full = app.creates_in(2, "two", json!({ "category": "music", "capacity": 1 })).await;
    app.creates_in(3, "three", json!({ "category": "talk" })).await;
    app.holds(&full, Uuid::new_v4(), 1).await.assert_ok();
    let days = |n: i64| rfc3339(now + TimeDelta::days(n));

    assert_eq!(app.lists("?category=music").await, ["one", "two"]);
    assert_eq!(app.lists("?category=MUSIC").await, ["one", "two"]);
    assert_eq!(app.lists("?has_seats=true").await, ["one", "three"]);
    assert_eq!(app.lists("?has_seats=false").await, ["one", "two", "three"]);
    assert_eq!(app.lists(&format!("?from={}", days(2))).await, ["two", "three"]);
    assert_eq!(app.lists(&format!("?to={}", days(2))).await, ["one"]);
    assert_eq!(app.lists(&format!("?from={}&to={}&category=music", days(1), days(3))).await, ["one", "two"]);
    assert_eq!(app.lists(&format!("?organizer_id={ORGANIZER}&q=three")).await, ["three"]);
    assert!(app.lists("?organizer_id=8").await.is_empty());
    app.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn organizers_list_all_their_own_events() {
    let app = TestApp::start().await;
    app.creates_in(1, "draft", json!({ "status": "draft" })).await;
    let cancelled = app.creates_in(2, "cancelled", json!({})).await;
    app.edits(&cancelled, &json!({ "status": "cancelled" })).await.assert_ok();
    app.creates_in(3, "published", json!({})).await;
    let path = format!("/api/events?organizer_id={ORGANIZER}");
    let (other, admin) = (app.token(8, Role::Organizer), app.token(1, Role::Admin));

    assert_eq!(app.get(&path).bearer(&app.organizer()).send().await.titles(), ["draft", "cancelled", "published"]);
    assert_eq!(app.get(&path).bearer(&admin).send().await.titles(), ["draft", "cancelled", "published"]);
    assert_eq!(app.get(&path).bearer(&other).send().await.titles(), ["published"]);
    assert_eq!(app.get(&path).send().await.titles(), ["published"]);
    app.clock.advance(TimeDelta::minutes(5));
    assert_eq!(app.lists("").await, ["published"]);
    app.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_by_another_replica_shows_shortly_after() {
    let app = TestApp::start().await;
    let replica = app.replica().await;
    let id = app.sells(10).await;
    let path = format!("/api/events/{id}");
    assert_eq!(replica.get(&path).send().await.assert_ok()["available"], 10);

    app.holds(&id, Uuid::new_v4(), 4).await.assert_ok();

    assert_eq!(app.get(&path).send().await.assert_ok()["available"], 6, "one's own change is seen at once");
    crate::helpers::wait_until("the other replica shows the change", async || {
        replica.get(&path).send().await.assert_ok()["available"] == 6
    })
    .await;
    app.end().await;
}

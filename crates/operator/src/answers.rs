//! What the API server answers, in portions that fit into the operator's memory. Whoever may write an object may make
//! it as large as the API server takes it, 1.5 MB and more, and most of that may be `managedFields`, which hardly a
//! rule reads and no schema limits: they are cut out of the answer while it comes. Only a few lists are read at a time,
//! and a single object that is larger than any that a rule reads is not read at all.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use http::header::CONTENT_TYPE;
use http::{Method, Request, Response};
use http_body::{Body, Frame};
use tokio::sync::{Mutex, OwnedSemaphorePermit, Semaphore};
use tower::{BoxError, Layer, Service, ServiceExt};

/// So many lists are read at a time.
const LISTS: usize = 4;
/// The largest answer that is no list and no watch, in bytes: the largest of our own resources is smaller, and what the
/// operator makes is far smaller.
const LARGEST: usize = 768 << 10;

/// Of these objects, when each is read alone, rules read who wrote them when.
const OF_MANAGERS: &str = "/postgresqls/";

/// The layer of the client.
#[derive(Clone, Debug)]
pub struct Portions {
    lists: Arc<Semaphore>,
}

impl Default for Portions {
    fn default() -> Self {
        Portions {
            lists: Arc::new(Semaphore::new(LISTS)),
        }
    }
}

impl<S> Layer<S> for Portions {
    type Service = Portioned<S>;

    fn layer(&self, inner: S) -> Portioned<S> {
        Portioned {
            inner: Arc::new(Mutex::new(inner)),
            lists: self.lists.clone(),
        }
    }
}

/// A client that reads in portions.
#[derive(Debug)]
pub struct Portioned<S> {
    inner: Arc<Mutex<S>>,
    lists: Arc<Semaphore>,
}

/// What is asked for, as far as its size is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asked {
    /// A page of a list.
    List,
    /// What has no end, or is as long as its reader wants.
    Watch,
    /// Anything else.
    One,
}

impl Asked {
    fn of<Q>(question: &Request<Q>) -> Self {
        let has = |name: &str| {
            let mut parts = question.uri().query().unwrap_or_default().split('&');
            parts.any(|part| part.split('=').next() == Some(name))
        };
        match *question.method() {
            Method::GET if has("watch") => Asked::Watch,
            Method::GET if has("limit") => Asked::List,
            _ => Asked::One,
        }
    }
}

impl<S, Q, B> Service<Request<Q>> for Portioned<S>
where
    S: Service<Request<Q>, Response = Response<B>> + Send + 'static,
    S::Future: Send + 'static,
    S::Error: Into<BoxError>,
    Q: Send + 'static,
    B: 'static,
{
    type Response = Response<Portion<B>>;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<Self::Response, BoxError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, question: Request<Q>) -> Self::Future {
        let (inner, lists) = (self.inner.clone(), self.lists.clone());
        async move {
            let asked = Asked::of(&question);
            let whole = question.uri().path().contains(OF_MANAGERS);
            let place = match asked {
                Asked::List => Some(lists.acquire_owned().await?),
                Asked::Watch | Asked::One => None,
            };
            let answer = {
                let mut inner = inner.lock().await;
                inner.ready().await.map_err(Into::into)?.call(question)
            };
            Ok(portion(
                answer.await.map_err(Into::into)?,
                asked,
                whole,
                place,
            ))
        }
        .boxed()
    }
}

fn portion<B>(
    answer: Response<B>,
    asked: Asked,
    whole: bool,
    place: Option<OwnedSemaphorePermit>,
) -> Response<Portion<B>> {
    let mut kinds = answer.headers().get_all(CONTENT_TYPE).iter();
    let is_json = kinds.any(|kind| kind.as_bytes().starts_with(b"application/json"));
    answer.map(|body| Portion {
        body,
        cut: (is_json && !whole).then(Cut::default),
        room: (asked == Asked::One).then_some(LARGEST),
        _place: place,
    })
}

/// The body of an answer.
#[derive(Debug)]
pub struct Portion<B> {
    body: B,
    /// What cuts it; none if it is no JSON, or is read as a whole.
    cut: Option<Cut>,
    /// How many bytes may yet come; none if there is no end to it.
    room: Option<usize>,
    /// As long as it is read, its place is taken.
    _place: Option<OwnedSemaphorePermit>,
}

impl<B> Body for Portion<B>
where
    B: Body<Data = Bytes, Error: Into<BoxError>> + Unpin,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let Some(frame) = ready!(Pin::new(&mut self.body).poll_frame(context)) else {
            return Poll::Ready(None);
        };
        let frame = match (frame, &mut self.cut) {
            (Ok(frame), Some(cut)) => frame.map_data(|data| cut.rest_of(&data)),
            (Ok(frame), None) => frame,
            (Err(error), _) => return Poll::Ready(Some(Err(error.into()))),
        };
        let came = frame.data_ref().map_or(0, Bytes::len);
        if let Some(room) = &mut self.room {
            let Some(left) = room.checked_sub(came) else {
                let error = format!(
                    "it is larger than {LARGEST} bytes, which nothing is that this operator reads"
                );
                return Poll::Ready(Some(Err(error.into())));
            };
            *room = left;
        }
        Poll::Ready(Some(Ok(frame)))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }
}

/// Empties every list `metadata.managedFields` of JSON that comes in pieces, of one document or of many. What is no
/// JSON it passes on: whoever parses it complains.
#[derive(Debug, Default)]
struct Cut {
    /// What is open, the innermost last.
    open: Vec<Open>,
    /// The last key of an object, or its beginning.
    key: Vec<u8>,
    string: Option<InString>,
    /// How many lists and objects are open inside the list that is left out.
    left_out: Option<usize>,
}

#[derive(Clone, Copy, Debug)]
struct Open {
    is_object: bool,
    /// Whether it is the value of a key `metadata`.
    is_metadata: bool,
    /// Whether the next string is a key.
    awaits_key: bool,
}

#[derive(Clone, Copy, Debug)]
struct InString {
    is_key: bool,
    is_escaped: bool,
}

/// No key that matters is longer.
const LONGEST_KEY: usize = 16;

impl Cut {
    /// What is left of the next piece.
    fn rest_of(&mut self, piece: &[u8]) -> Bytes {
        let mut rest = Vec::with_capacity(piece.len());
        for byte in piece {
            let (before, after) = (self.left_out.is_some(), {
                self.read(*byte);
                self.left_out.is_some()
            });
            // The brackets stay.
            if !(before && after) {
                rest.push(*byte);
            }
        }
        rest.into()
    }

    fn read(&mut self, byte: u8) {
        if let Some(string) = &mut self.string {
            match byte {
                _ if string.is_escaped => string.is_escaped = false,
                b'\\' => string.is_escaped = true,
                b'"' => {
                    self.string = None;
                    return;
                }
                _ => {}
            }
            if string.is_key && self.key.len() <= LONGEST_KEY {
                self.key.push(byte);
            }
            return;
        }
        match byte {
            b'"' => {
                let is_key =
                    self.left_out.is_none() && self.open.last().is_some_and(|open| open.awaits_key);
                if is_key {
                    self.key.clear();
                }
                self.string = Some(InString {
                    is_key,
                    is_escaped: false,
                });
            }
            b'{' | b'[' => self.begin(byte == b'{'),
            b'}' | b']' => self.end(),
            b':' | b',' if self.left_out.is_none() => {
                if let Some(open) = self.open.last_mut() {
                    open.awaits_key = open.is_object && byte == b',';
                }
            }
            _ => {}
        }
    }

    fn begin(&mut self, is_object: bool) {
        if let Some(depth) = &mut self.left_out {
            *depth += 1;
            return;
        }
        let around = self.open.last();
        let is_value_of = |key: &[u8]| around.is_some_and(|open| open.is_object) && self.key == key;
        if !is_object
            && around.is_some_and(|open| open.is_metadata)
            && is_value_of(b"managedFields")
        {
            self.left_out = Some(0);
            return;
        }
        let is_metadata = is_object && is_value_of(b"metadata");
        self.open.push(Open {
            is_object,
            is_metadata,
            awaits_key: is_object,
        });
    }

    fn end(&mut self) {
        match &mut self.left_out {
            Some(0) => self.left_out = None,
            Some(depth) => *depth -= 1,
            None => {
                self.open.pop();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};
    use std::time::Duration;

    use api::external::zalando::Postgresql;
    use http::{Request, Response};
    use k8s_openapi::api::core::v1::ConfigMap;
    use kube::api::{Api, ListParams};
    use kube::client::{Body, ClientBuilder};
    use kube::{Client, ResourceExt};
    use proptest::prelude::{Strategy, any, prop_assert_eq, prop_oneof, proptest};
    use proptest::{collection, sample};
    use serde_json::{Map, Value, json};

    use super::{Cut, LARGEST, LISTS, Portions};

    /// Empties what `Cut` empties, by the meaning instead of the text.
    fn emptied(value: &mut Value, is_metadata: bool) {
        match value {
            Value::Object(fields) => {
                for (key, field) in fields {
                    match field {
                        Value::Array(list) if is_metadata && key == "managedFields" => list.clear(),
                        field => emptied(field, key == "metadata"),
                    }
                }
            }
            Value::Array(items) => items.iter_mut().for_each(|item| emptied(item, false)),
            _ => {}
        }
    }

    fn text() -> impl Strategy<Value = String> {
        prop_oneof![
            sample::select(vec!["metadata", "managedFields", "items", "a"]).prop_map(str::to_owned),
            "[\\[\\]{}\",:\\\\a é]{0,6}",
        ]
    }

    fn document() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            text().prop_map(Value::String),
            any::<i32>().prop_map(|number| json!(number)),
            any::<bool>().prop_map(Value::Bool),
        ];
        leaf.prop_recursive(6, 64, 5, |inner| {
            prop_oneof![
                collection::vec(inner.clone(), 0..4).prop_map(Value::Array),
                collection::vec((text(), inner), 0..4)
                    .prop_map(|fields| Value::Object(fields.into_iter().collect::<Map<_, _>>())),
            ]
        })
    }

    proptest! {
        #[test]
        fn what_is_left_means_the_same(documents in collection::vec(document(), 1..4), size in 1_usize..40,
            pretty in any::<bool>()) {
            let print = if pretty { serde_json::to_string_pretty } else { serde_json::to_string };
            let text: Vec<String> = documents.iter().map(|document| print(document).unwrap()).collect();
            let mut cut = Cut::default();
            let left: Vec<u8> = text.join("\n").as_bytes().chunks(size).flat_map(|piece| cut.rest_of(piece)).collect();
            let left: Vec<Value> = serde_json::Deserializer::from_slice(&left).into_iter().collect::<Result<_, _>>()
                .unwrap();
            let mut expected = documents;
            expected.iter_mut().for_each(|document| emptied(document, false));
            prop_assert_eq!(left, expected);
        }
    }

    #[test]
    fn who_wrote_what_is_cut_out_of_lists_and_objects_and_nothing_else_is() {
        let heavy =
            json!([{"manager": "a]b", "fieldsV1": {"f:metadata": {"managedFields": ["x"]}}}]);
        let object = json!({"metadata": {"name": "managedFields", "managedFields": heavy, "uid": "u"},
            "spec": {"managedFields": ["stays"], "metadata": "stays"},
            "data": {"metadata": "{\"managedFields\":[1]}"}});
        let list =
            json!({"items": [object, object], "metadata": {"resourceVersion": "1"}}).to_string();
        let left = Cut::default().rest_of(list.as_bytes());
        let left: Value = serde_json::from_slice(&left).unwrap();
        let mut expected = object;
        expected["metadata"]["managedFields"] = json!([]);
        assert_eq!(left["items"], json!([expected, expected]));
    }

    /// A client of an API server that gives these answers, and what it was asked while nothing was answered.
    fn client(
        answer: impl Fn(usize) -> Vec<u8> + Send + 'static,
        asked_at_once: usize,
    ) -> (Client, Arc<Mutex<usize>>) {
        let (service, mut handle) = tower_test::mock::pair::<Request<Body>, Response<Body>>();
        let most = Arc::new(Mutex::new(0));
        let count = most.clone();
        tokio::spawn(async move {
            let (mut number, mut waiting) = (0, Vec::new());
            loop {
                let wait = Duration::from_millis(if waiting.is_empty() { 10_000 } else { 50 });
                if waiting.len() < asked_at_once
                    && let Ok(Some((_, send))) =
                        tokio::time::timeout(wait, handle.next_request()).await
                {
                    waiting.push(send);
                    let mut most = count.lock().unwrap();
                    *most = waiting.len().max(*most);
                    continue;
                }
                for send in waiting.drain(..) {
                    let head = Response::builder().header("content-type", "application/json");
                    send.send_response(head.body(Body::from(answer(number))).unwrap());
                    number += 1;
                }
            }
        });
        let client = ClientBuilder::new(service, "default")
            .with_layer(&Portions::default())
            .build();
        (client, most)
    }

    fn map(more: usize, managers: usize) -> Value {
        let managers: Vec<Value> = (0..managers)
            .map(|number| json!({"manager": format!("m{number}"), "operation": "Apply", "fieldsType": "FieldsV1",
                "fieldsV1": {"f:data": {"f:a": {}}}}))
            .collect();
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "m", "managedFields": managers},
            "data": {"a": "x".repeat(more)}})
    }

    #[tokio::test]
    async fn an_object_is_as_large_as_it_is_without_its_managers() {
        let (client, _) = client(|_| map(10, 20_000).to_string().into_bytes(), 1);
        let maps: Api<ConfigMap> = Api::default_namespaced(client);
        let read = maps.get("m").await.unwrap();
        assert_eq!(read.managed_fields(), []);
        assert_eq!(read.data.unwrap()["a"].len(), 10);
    }

    #[tokio::test]
    async fn who_wrote_a_cluster_of_the_zalando_operator_is_read() {
        let (client, _) = client(|_| map(0, 3).to_string().into_bytes(), 1);
        let clusters: Api<Postgresql> = Api::default_namespaced(client);
        let read = clusters.get("m").await.unwrap();
        assert_eq!(read.managed_fields().len(), 3);
    }

    #[tokio::test]
    async fn one_that_nothing_would_be_read_of_is_not_read() {
        let (client, _) = client(|_| map(LARGEST, 0).to_string().into_bytes(), 1);
        let maps: Api<ConfigMap> = Api::default_namespaced(client);
        let error = maps.get("m").await.unwrap_err();
        assert!(
            format!("{error:?}").contains("larger than 786432 bytes"),
            "{error:?}"
        );
    }

    #[tokio::test]
    async fn few_lists_are_read_at_a_time() {
        let list = json!({"apiVersion": "v1", "kind": "ConfigMapList", "metadata": {}, "items": [map(LARGEST, 1)]});
        let (client, most) = client(move |_| list.to_string().into_bytes(), 3 * LISTS);
        let maps: &Api<ConfigMap> = &Api::default_namespaced(client);
        let parameters = ListParams::default().limit(5);
        let lists = (0..3 * LISTS).map(|_| maps.list(&parameters));
        let read = futures::future::try_join_all(lists).await.unwrap();
        assert!(read.iter().all(|list| list.items.len() == 1));
        assert_eq!(*most.lock().unwrap(), LISTS);
    }
}

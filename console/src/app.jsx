// The frame of the console: signing in, the navigation, and the panel in view.
import { useEffect, useRef, useState } from "preact/hooks";
import { Button, Dialog, DialogFoot } from "./controls.jsx";
import { forgetDrafts, hasDrafts } from "./drafts.js";
import { useFocusFallback } from "./focus.js";
import { fromNow } from "./format.js";
import { fragmentOf, usePlace } from "./location.js";
import { ConfirmedButton } from "./outcome.jsx";
import { BrowsePanel } from "./panels/browse.jsx";
import { CachePanel } from "./panels/cache.jsx";
import { FlagsPanel } from "./panels/flags.jsx";
import { MetricsPanel } from "./panels/metrics.jsx";
import { ReleasesPanel } from "./panels/releases.jsx";
import { StorefrontsPanel } from "./panels/storefronts.jsx";
import { WritesPanel } from "./panels/writes.jsx";
import { hasToken, onTokenRefused, reachProblem, restoreSession, signIn, signOut } from "./session.js";

/** Returns true if the token reads the namespace with this role. */
const reads = (session, role) => session.bindings.some((binding) => binding.role === role);
/** Returns true if it reads this key there, or the whole namespace. */
const reaches = (session, role, key = "") => reads(session, role) && reachProblem(session, key) === null;
const has = (session, feature) => session.features.includes(feature);

/** The panels, and who is offered each. "Metrics" says if they are off. */
const PANELS = [
  { id: "browse", label: "Browse", Panel: BrowsePanel, isOffered: () => true },
  { id: "flags", label: "Flags", Panel: FlagsPanel, isOffered: (session) => has(session, "flags") && reaches(session, "configuration", "flags") },
  { id: "storefronts", label: "Storefronts", Panel: StorefrontsPanel, isOffered: (session) => has(session, "storefronts") && reads(session, "storefronts") },
  { id: "releases", label: "Releases", Panel: ReleasesPanel, isOffered: (session) => has(session, "assets") && reaches(session, "assets") },
  { id: "cache", label: "Cache", Panel: CachePanel, isOffered: (session) => has(session, "cache") && reaches(session, "cache") },
  { id: "writes", label: "Writes", Panel: WritesPanel, isOffered: (session) => has(session, "writes") && session.everything },
  { id: "metrics", label: "Metrics", Panel: MetricsPanel, isOffered: (session) => session.everything },
];

/** When the token expires, given in ISO 8601. */
function Expiration({ time }) {
  const [, setSeconds] = useState(0);
  useEffect(() => {
    const timer = setInterval(() => setSeconds((seconds) => seconds + 1), 1000);
    return () => clearInterval(timer);
  }, []);
  const seconds = Date.parse(time) / 1000;
  return (
    <span title={time}>
      {seconds * 1000 < Date.now() ? "Expired" : "Expires"} {fromNow(seconds)}
    </span>
  );
}

export function App() {
  const [session, setSession] = useState(null);
  const [isRestoring, setRestoring] = useState(hasToken);
  const [message, setMessage] = useState("");
  /** A session that waits until its owner has chosen what becomes of the drafts. */
  const [waiting, setWaiting] = useState(null);
  const main = useRef(null);
  useFocusFallback(main);
  /** The scope of the token that the drafts were made with. A renewed token has another name. */
  const scope = useRef(null);
  const admit = (next) => {
    scope.current = scopeOf(next);
    setWaiting(null);
    setSession(next);
  };
  const enter = (next) => {
    if (next === null) return;
    if (hasDrafts() && scopeOf(next) !== scope.current) setWaiting(next);
    else admit(next);
  };

  useEffect(() => {
    restoreSession()
      .then(enter)
      .catch((error) => setMessage(error.message))
      .finally(() => setRestoring(false));
    return onTokenRefused((sentence) => {
      setSession(null);
      setMessage(sentence);
    });
  }, []);

  if (isRestoring) return <Shell />;
  const leave = () => {
    signOut();
    forgetDrafts();
    setMessage("");
    setSession(null);
  };
  if (waiting) {
    const drop = () => {
      forgetDrafts();
      admit(waiting);
    };
    const back = () => {
      signOut();
      setMessage("Your unsaved changes are kept for a token with the same scope as before.");
      setWaiting(null);
    };
    return (
      <Shell>
        <Dialog title="Sign in and drop the unsaved changes?" onClose={back}>
          <p>There are changes that are not saved. They were made with a token of another scope.</p>
          <DialogFoot onCancel={back}>
            <button type="button" class="danger" onClick={drop}>
              Drop them and sign in
            </button>
          </DialogFoot>
        </Dialog>
      </Shell>
    );
  }
  return session ? <SignedIn session={session} main={main} onLeave={leave} /> : <SignIn message={message} onSession={enter} />;
}

/** Returns what a token may do, to compare. */
const scopeOf = ({ everything, scope }) => JSON.stringify({ everything, scope });

function SignedIn({ session, main, onLeave }) {
  const place = usePlace();
  const offered = PANELS.filter(({ isOffered }) => isOffered(session));
  const { id, label, Panel } = offered.find((panel) => panel.id === place.panel) ?? offered[0];
  useFocusFallback(main);
  useEffect(() => {
    document.title = `${label} – kv-edge console`;
  }, [label]);
  return (
    <Shell
      main={main}
      navigation={
        <>
          <a
            class="skip"
            href={location.hash}
            onClick={(event) => {
              event.preventDefault();
              main.current.focus();
            }}
          >
            Skip to the panel
          </a>
          <nav aria-label="Panels">
            <ul>
              {offered.map((panel) => (
                <li key={panel.id}>
                  <a href={fragmentOf(panel.id)} aria-current={panel.id === id ? "page" : undefined}>
                    {panel.label}
                  </a>
                </li>
              ))}
            </ul>
          </nav>
          <div class="account">
            <p>
              <strong>{session.name}</strong>
              <span>{reachOf(session)}</span>
              {session.expires && <Expiration time={session.expires} />}
            </p>
            <ConfirmedButton action="Sign out" title="Sign out and drop your unsaved changes?" needsConfirmation={hasDrafts} onConfirm={onLeave}>
              <p>There are changes that you have not saved.</p>
            </ConfirmedButton>
          </div>
        </>
      }
    >
      <Panel key={id} session={session} />
    </Shell>
  );
}

/** Returns in a few words what the token may do. */
function reachOf({ everything, scope }) {
  if (everything || !scope) return "May do everything";
  const what = scope.prefix === "" ? scope.namespace : `${scope.namespace}: ${scope.prefix}…`;
  return scope.write ? what : `${what} · read-only`;
}

/** The frame; index.html has the same one, for the first paint. */
function Shell({ navigation, main, children }) {
  return (
    <div class="shell">
      <header class="sidebar">
        <p class="brand">
          kv-edge <span>console</span>
        </p>
        {navigation}
      </header>
      <main class="main" ref={main} tabIndex={-1} aria-busy={children === undefined}>
        {children}
      </main>
    </div>
  );
}

function SignIn({ message, onSession }) {
  const [problem, setProblem] = useState(message);
  const [isBusy, setBusy] = useState(false);
  const input = useRef(null);
  useEffect(() => input.current.focus(), []);

  async function submit(event) {
    event.preventDefault();
    const token = input.current.value.trim();
    input.current.focus();
    if (token === "") return setProblem("A token is needed.");
    setBusy(true);
    try {
      onSession(await signIn(token));
    } catch (error) {
      setProblem(error.status === 401 ? "The Worker does not accept this token: it is wrong, has expired, or was revoked." : error.message);
      setBusy(false);
      input.current.select();
    }
  }

  return (
    <Shell>
      <form class="sign-in" onSubmit={submit}>
        <h1>Sign in</h1>
        <label for="token">Token</label>
        <input id="token" ref={input} type="password" autocomplete="off" spellcheck={false} aria-describedby="token-help" />
        <p id="token-help" class="help">
          The secret <code>API_TOKEN</code>, or a token of <code>kv-edge token create</code>. It stays in this tab, and is gone when the tab closes.
        </p>
        <Button class="primary" type="submit" disabled={isBusy}>
          {isBusy ? "Signing in…" : "Sign in"}
        </Button>
        <p class="problem" role="alert">
          {problem}
        </p>
      </form>
    </Shell>
  );
}

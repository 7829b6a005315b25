// The timeline of a run of writes, drawn as /writes draws it in its HTML response.
import "../../src/jobs/writes/timeline.css";
import { useLayoutEffect, useRef } from "preact/hooks";
import { drawTimeline } from "../../src/jobs/writes/timeline.js";

/** Draws a run, `{ attempts, elapsedMs }`: the report that the HTML of /writes contains. */
export function Timeline({ run }) {
  const picture = useRef(null);
  useLayoutEffect(() => drawTimeline(picture.current, run), [run]);
  return <figure class="timeline" ref={picture} />;
}

// The timeline of a run of writes, drawn as in the page of a run.
import "../../src/jobs/writes/timeline.css";
import { useLayoutEffect, useRef } from "preact/hooks";
import { drawTimeline } from "../../src/jobs/writes/timeline.js";

/** Draws a run, `{ attempts, elapsedMs }` as the report in its page has it. */
export function Timeline({ run }) {
  const picture = useRef(null);
  useLayoutEffect(() => drawTimeline(picture.current, run), [run]);
  return <figure class="timeline" ref={picture} />;
}

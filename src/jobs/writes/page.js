// The page of a run: draws its timeline, which takes the place of the table.
const picture = document.getElementById("picture");
// biome-ignore lint/correctness/noUndeclaredVariables: in the page, timeline.js stands before this
drawTimeline(picture, JSON.parse(document.getElementById("report").textContent));
picture.hidden = false;
document.querySelector("details").open = false;

// The beginning of the console: puts it into its element of index.html.
import "../style.css";
import "../panels.css";
import { render } from "preact";
import { App } from "./app.jsx";

render(<App />, document.getElementById("console"));

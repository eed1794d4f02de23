// SPDX-License-Identifier: Apache-2.0

// The server makes all of the page. This puts the parts that have changed into their places, node by node, so that
// focus, selection and scrolling stay where the reader has them.

const connection = document.getElementById("connection");
const events = new EventSource("events");

events.addEventListener("open", () => tell("live"));
events.addEventListener("error", () => {
  // Closed by an answer that is none: a browser does not try again by itself.
  if (events.readyState === EventSource.CLOSED)
    tell("refused: too many windows may show this page; close some and reload");
  else
    tell(
      "the program that serves this page is away: start podrt dashboard again, at the address that it prints",
    );
});
events.addEventListener("parts", ({ data }) => {
  for (const [id, text] of Object.entries(JSON.parse(data))) {
    const place = document.getElementById(id);
    const template = document.createElement("template");
    template.innerHTML = text;
    if (place !== null) adapt(place, template.content);
  }
});

function tell(words) {
  if (connection.textContent !== words) connection.textContent = words;
  connection.className = words === "live" ? "well" : "amiss";
}

/**
 * Makes the children of `place` those of `wanted`. What has a key and comes or goes is put in or taken out, so that its
 * neighbours stay the same elements.
 */
function adapt(place, wanted) {
  const keysBefore = new Set([...place.childNodes].map(keyOf));
  const keysAfter = new Set([...wanted.childNodes].map(keyOf));
  let old = place.firstChild;
  const takeOut = () => {
    const gone = old;
    old = old.nextSibling;
    gone.remove();
  };
  for (const node of [...wanted.childNodes]) {
    while (old !== null && !keysAfter.has(keyOf(old))) takeOut();
    if (old === null || (keyOf(node) !== null && !keysBefore.has(keyOf(node)))) {
      place.insertBefore(node, old);
    } else if (isSameKind(old, node)) {
      if (node instanceof Element) adaptElement(old, node);
      else if (old.data !== node.data) old.data = node.data;
      old = old.nextSibling;
    } else {
      place.insertBefore(node, old);
      takeOut();
    }
  }
  while (old !== null) takeOut();
}

function isSameKind(old, node) {
  return old.nodeType === node.nodeType && old.nodeName === node.nodeName && keyOf(old) === keyOf(node);
}

function keyOf(node) {
  return node instanceof Element ? node.getAttribute("data-key") : null;
}

function adaptElement(old, node) {
  for (const { name } of [...old.attributes]) if (!node.hasAttribute(name)) old.removeAttribute(name);
  for (const { name, value } of node.attributes) {
    if (old.getAttribute(name) !== value) old.setAttribute(name, value);
  }
  adapt(old, node);
}

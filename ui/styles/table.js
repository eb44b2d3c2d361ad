// The styles, once for all tabs. Gradio runs this with `element` and `props`.
// props.table = {styles: [{name, title, group, colour, adds, avoids}], groups: [{name, title}], words, most}: titles and
// words by language, and how many at once.

window.studio.styles = props.table;
document.dispatchEvent(new Event("studio:styles"));

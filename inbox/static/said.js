// What our scripts say, in the language of the page: the code has the English, the page brings the rest with it.
const table = JSON.parse(document.body.dataset.said ?? "{}");
export const said = (english) => table[english] ?? english;
